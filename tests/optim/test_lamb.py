"""LAMB against a float64 reference written from the paper, against torch.optim.AdamW, and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from hpc_adabatch import LAMB, InputError

pytestmark = pytest.mark.usefixtures("path")

Array = npt.NDArray[np.float64]

BETAS, EPS, DECAY = (0.9, 0.99), 1e-6, 0.2
RATES = (0.01, 0.03, 0.4, 0.11, 0.0, 0.23, 0.03, 0.02, 0.37, 0.13)
START: Array = np.random.default_rng(7).normal(size=(6, 5))
GRADIENTS: list[Array] = [np.random.default_rng(n).normal(size=(6, 5)) * 10.0 ** (n % 4 - 2) for n in range(10)]


def algorithm_2(
    *, decay: float = DECAY, corrected: bool = True, largest: float = np.inf, rates: Sequence[float] = RATES
) -> Array:
    """With phi the identity."""
    x, m, v = START.copy(), np.zeros_like(START), np.zeros_like(START)
    for t, (gradient, rate) in enumerate(zip(GRADIENTS, rates, strict=False), 1):
        m = BETAS[0] * m + (1 - BETAS[0]) * gradient
        v = BETAS[1] * v + (1 - BETAS[1]) * gradient**2
        first, second = (1 - BETAS[0] ** t, 1 - BETAS[1] ** t) if corrected else (1, 1)
        direction = m / first / (np.sqrt(v / second) + EPS) + decay * x
        x = x - rate * min(largest, np.linalg.norm(x) / np.linalg.norm(direction)) * direction
    return x


def test_betas_that_change_keep_the_moments_unbiased() -> None:
    """Under a gradient that stays, both corrected moments are the gradient and its square from the first step on."""
    optimizer = LAMB([parameter()], lr=0.1, adapt=False, eps=0.0)
    for step, beta2 in enumerate((0.999, 0.9, 0.99, 0.5), 1):
        optimizer.param_groups[0]["betas"] = (0.9, beta2)
        end = follow(optimizer, GRADIENTS[:1], [0.1])
        assert end == pytest.approx(START - 0.1 * step * np.sign(GRADIENTS[0]), rel=1e-9)


def test_a_checkpoint_of_before_goes_on() -> None:
    optimizer = LAMB([parameter()], betas=BETAS, weight_decay=DECAY)
    follow(optimizer, GRADIENTS[:4])
    state = optimizer.state_dict()
    del state["param_groups"][0]["beginning"]
    other = LAMB([optimizer.param_groups[0]["params"][0]], betas=BETAS, weight_decay=DECAY)
    other.load_state_dict(state)
    assert apart(follow(other, GRADIENTS[4:], RATES[4:]), algorithm_2()) < 1e-11


def parameter(values: Array = START, dtype: torch.dtype = torch.float64) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=dtype))


def follow(
    optimizer: torch.optim.Optimizer, gradients: Sequence[Array | None] = GRADIENTS, rates: Sequence[float] = RATES
) -> Array:
    """Steps of the first parameter with these gradients and learning rates: where it arrives."""
    weight = optimizer.param_groups[0]["params"][0]
    for gradient, rate in zip(gradients, rates, strict=False):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = None if gradient is None else torch.tensor(gradient, dtype=weight.dtype)
        optimizer.step()
    return weight.detach().double().numpy().copy()


def arrive(dtype: torch.dtype = torch.float64, **options: Any) -> Array:
    return follow(LAMB([parameter(dtype=dtype)], **{"betas": BETAS, "weight_decay": DECAY, **options}))


def apart(one: Array, other: Array) -> float:
    """Distance of two ends over the distance travelled."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other - START))


# The formula


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("corrected", [True, False])
def test_changing_learning_rates_follow_algorithm_2(decay: float, corrected: bool) -> None:
    end = arrive(weight_decay=decay, bias_correction=corrected)
    assert apart(end, algorithm_2(decay=decay, corrected=corrected)) < 1e-11
    assert apart(end, algorithm_2(decay=0.1, corrected=corrected)) > 1e-3
    if decay:  # without it the ratio takes any scale out of the direction
        assert apart(end, algorithm_2(decay=decay, corrected=not corrected)) > 1e-3


def test_float32_stays_close_to_float64() -> None:
    assert apart(arrive(torch.float32), algorithm_2()) < 1e-4


def test_a_step_worked_by_hand() -> None:
    """r is the sign of the gradient at first: r + 2 w = (1 + 6, -1 + 8), |w| = 5, a ratio of 5 / (7 sqrt 2)."""
    start, gradient = np.array([[3.0, 4.0]]), np.array([[8.0, -6.0]])
    end = follow(LAMB([parameter(start)], eps=0.0, weight_decay=2.0), [gradient], [0.1])
    assert end == pytest.approx(start - 0.1 * 5 / np.sqrt(2), rel=1e-12)


@pytest.mark.parametrize("rate", [1e-4, 0.1, 2.0])
@pytest.mark.parametrize("corrected", [True, False])
def test_the_first_step_of_each_layer_is_as_long_as_its_weights_times_the_rate(rate: float, corrected: bool) -> None:
    weights = [parameter(), parameter(1e-3 * START), parameter(50 * START[:2])]
    before = [weight.detach().clone() for weight in weights]
    for weight, gradient in zip(weights, GRADIENTS, strict=False):
        weight.grad = torch.tensor(gradient[: len(weight)])
    LAMB(weights, lr=rate, bias_correction=corrected).step()
    for weight, old in zip(weights, before, strict=True):
        assert (weight - old).norm().item() == pytest.approx(rate * old.norm().item(), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_without_eps_the_length_of_the_gradient_does_not_matter(scale: float, decay: float) -> None:
    plain = follow(LAMB([parameter()], eps=0.0, weight_decay=decay))
    scaled = follow(LAMB([parameter()], eps=0.0, weight_decay=decay), [scale * gradient for gradient in GRADIENTS])
    assert apart(scaled, plain) < 1e-11


def test_without_eps_a_weight_that_never_had_a_gradient_stays() -> None:
    """0 / 0 is no number."""
    gradients = [gradient * (np.arange(5) != 2) for gradient in GRADIENTS]
    end = follow(LAMB([parameter()], eps=0.0), gradients)
    assert np.array_equal(end[:, 2], START[:, 2])
    assert (end != START)[:, [0, 1, 3, 4]].all()
    assert np.isfinite(end).all()


def test_a_gradient_of_zero_shrinks_by_the_rate_whatever_the_decay() -> None:
    zero = [np.zeros_like(START)] * 2
    for decay in (1e-4, 0.5):
        end = follow(LAMB([parameter()], weight_decay=decay), zero, (0.1, 0.2))
        assert end == pytest.approx(START * 0.9 * 0.8, rel=1e-12)
    assert np.array_equal(follow(LAMB([parameter()]), zero, (0.1, 0.2)), START)


def test_weights_of_length_zero_take_the_direction_itself() -> None:
    zero = np.zeros_like(START)
    end = follow(LAMB([parameter(zero)], eps=0.0, weight_decay=DECAY), GRADIENTS[:1], [0.1])
    assert end == pytest.approx(-0.1 * np.sign(GRADIENTS[0]), rel=1e-12)
    assert np.array_equal(follow(LAMB([parameter(zero)], weight_decay=DECAY), [zero], [0.1]), zero)


@pytest.mark.parametrize("largest", [0.3, 1.0])
def test_trust_ratios_are_cut(largest: float) -> None:
    ended = arrive(max_trust_ratio=largest)
    assert apart(ended, algorithm_2(largest=largest)) < 1e-11
    assert apart(algorithm_2(), algorithm_2(largest=largest)) > 1e-3


@pytest.mark.parametrize("none", [None, 0, 0.0])
def test_no_largest_trust_ratio_cuts_nothing(none: float | None) -> None:
    optimizer = LAMB([parameter()], max_trust_ratio=none)
    assert optimizer.param_groups[0]["max_trust_ratio"] == 0.0
    weight = optimizer.param_groups[0]["params"][0]
    weight.data *= 1e6
    optimizer.trust_ratios = {}
    follow(optimizer, GRADIENTS[:1], [0.1])
    assert float(optimizer.trust_ratios[weight]) > 1e5


def test_a_quadratic_descends() -> None:
    weight = parameter()
    optimizer = LAMB([weight], lr=0.05)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = weight.square().sum()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 2


# AdamW, its neighbour


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_groups_that_do_not_adapt_are_adamw_at_any_learning_rate(decay: float) -> None:
    """Its decay multiplies by 1 - lr lambda, ours subtracts lr lambda x: equal but for rounding."""
    options: dict[str, Any] = {"betas": BETAS, "eps": EPS, "weight_decay": decay}
    plain = follow(LAMB([parameter()], adapt=False, **options))
    assert apart(plain, follow(torch.optim.AdamW([parameter()], **options))) < 1e-12
    if decay:
        assert apart(plain, follow(torch.optim.Adam([parameter()], **options))) > 1e-3


# The number of steps


def test_only_steps_with_gradients_count() -> None:
    gradients = [None, None, *GRADIENTS[:3], None, *GRADIENTS[3:5]]
    rates = [9.0, 9.0, *RATES[:3], 9.0, *RATES[3:5]]
    optimizer = LAMB([parameter()], betas=BETAS, weight_decay=DECAY)
    assert apart(follow(optimizer, gradients, rates), algorithm_2(rates=RATES[:5])) < 1e-11
    assert optimizer.param_groups[0]["step"] == 5


def test_a_later_group_counts_its_own_steps() -> None:
    first, later = parameter(), parameter()
    optimizer = LAMB([first], betas=BETAS, weight_decay=DECAY)
    follow(optimizer, GRADIENTS[:4])
    optimizer.add_param_group({"params": [later]})
    first.grad = None
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        optimizer.param_groups[1]["lr"] = rate
        later.grad = torch.tensor(gradient)
        optimizer.step()
    assert apart(later.detach().numpy(), algorithm_2()) < 1e-11
    assert [group["step"] for group in optimizer.param_groups] == [4, 10]


# Options


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((option, value) for option in ("lr", "weight_decay", "eps", "max_trust_ratio") for value in (-0.1, np.nan)),
        *(("betas", value) for value in ((1.0, 0.9), (0.9, -0.1), (0.9,), (0.9, np.nan))),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^optimizer\.{option}: given "):
        LAMB([parameter()], **{option: value})
    with pytest.raises(InputError, match=rf"^optimizer\.{option}: given "):
        LAMB([{"params": [parameter()], option: value}])
