"""LARS against float64 references written from the paper, against torch.optim.SGD, and by hand.

The oracles O1 to O16 each kill a fault of some published implementation. Both updates run here, on CPU tensors.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from hpc_adabatch import LARS, InputError

Array = npt.NDArray[np.float64]

MOMENTUM, DECAY, ETA = 0.9, 0.2, 1e-3
RATES = (0.1, 0.3, 4.0, 1.1, 0.7, 2.3, 0.3, 0.2, 3.7, 1.3)
SCALES = (1, 0.1, 3, 0.3, 10, 1, 0.2, 5, 0.5, 2)
START: Array = np.random.default_rng(7).normal(size=(6, 5))
GRADIENTS: list[Array] = [np.random.default_rng(n).normal(size=(6, 5)) * scale for n, scale in enumerate(SCALES)]


pytestmark = pytest.mark.usefixtures("path")


@pytest.fixture
def exact() -> float:
    """Allowed distance in float64."""
    return 1e-11


def sum_of_norms(weight: Array, gradient: Array) -> float:
    length = float(np.linalg.norm(weight))
    return ETA * length / (float(np.linalg.norm(gradient)) + DECAY * length)


def norm_of_sum(weight: Array, gradient: Array) -> float:
    return ETA * float(np.linalg.norm(weight)) / float(np.linalg.norm(gradient + DECAY * weight))


def form_a(ratio: Callable[[Array, Array], float] = sum_of_norms, rates: Sequence[float] = RATES) -> Array:
    """Algorithm 1: the learning rate and the trust ratio inside the velocity."""
    weight, velocity = START.copy(), np.zeros_like(START)
    for gradient, rate in zip(GRADIENTS, rates, strict=False):
        velocity = MOMENTUM * velocity + rate * ratio(weight, gradient) * (gradient + DECAY * weight)
        weight = weight - velocity
    return weight


def form_b() -> Array:
    """Both outside."""
    weight, velocity = START.copy(), np.zeros_like(START)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        velocity = MOMENTUM * velocity + gradient + DECAY * weight
        weight = weight - rate * sum_of_norms(weight, gradient) * velocity
    return weight


def form_c() -> Array:
    """The trust ratio inside, the learning rate outside."""
    weight, velocity = START.copy(), np.zeros_like(START)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        velocity = MOMENTUM * velocity + sum_of_norms(weight, gradient) * (gradient + DECAY * weight)
        weight = weight - rate * velocity
    return weight


def form_a_nesterov() -> Array:
    weight, velocity = START.copy(), np.zeros_like(START)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        pull = rate * sum_of_norms(weight, gradient) * (gradient + DECAY * weight)
        velocity = MOMENTUM * velocity + pull
        weight = weight - (MOMENTUM * velocity + pull)
    return weight


def form_c_nesterov() -> Array:
    weight, velocity = START.copy(), np.zeros_like(START)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        pull = sum_of_norms(weight, gradient) * (gradient + DECAY * weight)
        velocity = MOMENTUM * velocity + pull
        weight = weight - rate * (MOMENTUM * velocity + pull)
    return weight


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
    return follow(LARS([parameter(dtype=dtype)], **{"momentum": MOMENTUM, "weight_decay": DECAY, **options}))


def apart(one: Array, other: Array, start: Array = START) -> float:
    """Distance of two ends over the distance travelled."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other - start))


# The formula


def test_changing_learning_rates_follow_algorithm_1(exact: float) -> None:
    """O1."""
    assert apart(arrive(), form_a()) < exact


def test_the_three_forms_of_momentum_part_when_the_learning_rate_changes() -> None:
    """O1: what the reference would not tell apart, it would not test."""
    a, b, c = form_a(), form_b(), form_c()
    assert min(apart(b, a), apart(c, a), apart(b, c)) > 1e-3


def test_the_ratio_divides_by_the_sum_of_norms_and_not_by_the_norm_of_the_sum() -> None:
    """O2."""
    assert apart(arrive(), form_a(norm_of_sum)) > 1e-3


@pytest.mark.parametrize(("eps", "step"), [(0.0, [0.014, 0.002]), (20.0, [0.007, 0.001])])
def test_a_step_worked_by_hand(eps: float, step: list[float], exact: float) -> None:
    """|w| = 5, |g| = 10, lr 2: a rate of 2 * 0.002 * 5 / (10 + 2 * 5 + eps) along g + 2 w = (14, 2)."""
    start, gradient = np.array([[3.0, 4.0]]), np.array([[8.0, -6.0]])
    optimizer = LARS([parameter(start)], weight_decay=2.0, trust_coefficient=0.002, eps=eps)
    assert follow(optimizer, [gradient], [2.0]) == pytest.approx(start - step, rel=exact)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_without_decay_the_length_of_the_gradient_does_not_matter(scale: float, exact: float) -> None:
    """O3."""
    plain = follow(LARS([parameter()]))
    scaled = follow(LARS([parameter()]), [scale * gradient for gradient in GRADIENTS])
    assert apart(scaled, plain) < exact


@pytest.mark.parametrize("rate", [0.1, 1.0, 30.0])
def test_the_first_step_is_as_long_as_the_trust_coefficient_says(rate: float, exact: float) -> None:
    """O4."""
    end = follow(LARS([parameter()], trust_coefficient=0.005), rates=[rate])
    assert np.linalg.norm(end - START) == pytest.approx(rate * 0.005 * np.linalg.norm(START), rel=exact)


def test_a_quadratic_descends() -> None:
    """O6."""
    weight = parameter()
    optimizer = LARS([weight], lr=5.0)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = weight.square().sum()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("nesterov", [False, True])
def test_without_a_length_the_ratio_is_one(nesterov: bool, exact: float) -> None:
    """O7: momentum 0 makes nesterov the same step."""
    rate, zero, gradient = 0.3, np.zeros_like(START), GRADIENTS[0]

    def end(start: Array, gradient: Array) -> Array:
        optimizer = LARS([parameter(start)], momentum=0.0, weight_decay=DECAY, nesterov=nesterov)
        return follow(optimizer, [gradient], [rate])

    assert end(zero, gradient) == pytest.approx(-rate * gradient, rel=exact)
    assert end(START, zero) == pytest.approx(START - rate * DECAY * START, rel=exact)
    assert np.array_equal(end(zero, zero), zero)


def test_at_learning_rate_zero_the_weights_coast(exact: float) -> None:
    """O9."""
    rates = (1.0, 0.0, 0.0, 1.0)
    ends = [START, *(follow(LARS([parameter()], weight_decay=DECAY), rates=rates[:n]) for n in (1, 2, 3, 4))]
    first, second, third, _ = np.diff(ends, axis=0)
    assert second == pytest.approx(MOMENTUM * first, rel=exact, abs=1e-14)
    assert third == pytest.approx(MOMENTUM * second, rel=exact, abs=1e-14)
    assert apart(ends[4], form_a(rates=rates)) < exact


def test_nesterov_looks_ahead_along_the_velocity(exact: float) -> None:
    assert apart(arrive(nesterov=True), form_a_nesterov()) < exact
    assert apart(form_a(), form_a_nesterov()) > 1e-3


def test_momentum_correction_is_the_form_with_the_learning_rate_outside(exact: float) -> None:
    """O16."""
    assert apart(arrive(momentum_correction=True), form_c()) < exact


def test_momentum_correction_with_nesterov_is_that_form_too(exact: float) -> None:
    """O16."""
    assert apart(arrive(momentum_correction=True, nesterov=True), form_c_nesterov()) < exact


# SGD, its neighbour


@pytest.mark.parametrize("nesterov", [False, True])
def test_groups_that_do_not_adapt_are_sgd(nesterov: bool, exact: float) -> None:
    """O5: at a constant learning rate."""
    options: dict[str, Any] = {"lr": 0.1, "momentum": MOMENTUM, "weight_decay": DECAY, "nesterov": nesterov}
    rates = [0.1] * len(GRADIENTS)
    plain = follow(LARS([parameter()], adapt=False, **options), rates=rates)
    assert apart(plain, follow(torch.optim.SGD([parameter()], **options), rates=rates)) < exact


def test_without_momentum_they_are_sgd_at_any_learning_rate(exact: float) -> None:
    """O5."""
    plain = follow(LARS([parameter()], momentum=0.0, weight_decay=DECAY, adapt=False))
    assert apart(plain, follow(torch.optim.SGD([parameter()], weight_decay=DECAY))) < exact


@pytest.mark.parametrize(
    "gradients",
    [
        pytest.param(GRADIENTS, id="every step"),
        pytest.param(
            [None if n in (2, 3) else gradient for n, gradient in enumerate(GRADIENTS)],
            id="steps without a gradient",
        ),
    ],
)
def test_momentum_correction_makes_them_sgd_at_any_learning_rate(gradients: list[Array | None], exact: float) -> None:
    """O16: torch.optim.SGD keeps the learning rate outside."""
    plain = follow(LARS([parameter()], adapt=False, momentum_correction=True), gradients)
    assert apart(plain, follow(torch.optim.SGD([parameter()], momentum=MOMENTUM), gradients)) < exact


# Parameters, their kinds and their layouts


def test_each_parameter_is_a_layer_of_its_own(exact: float) -> None:
    """O14."""
    halves = [parameter(START[:3]), parameter(START[3:])]
    for half, gradient in zip(halves, (GRADIENTS[0][:3], 5 * GRADIENTS[0][3:]), strict=True):
        half.grad = torch.tensor(gradient)
    LARS(halves).step()
    apiece = np.concatenate([half.detach().numpy() for half in halves])
    whole = follow(LARS([parameter()]), [np.concatenate([GRADIENTS[0][:3], 5 * GRADIENTS[0][3:]])], [1.0])
    assert apart(apiece, whole) > 1e-3
    for rows in (slice(0, 3), slice(3, 6)):
        moved = np.linalg.norm(apiece[rows] - START[rows])
        assert moved == pytest.approx(ETA * np.linalg.norm(START[rows]), rel=exact)


@pytest.mark.parametrize("nesterov", [False, True])
def test_float32_stays_close_to_float64(nesterov: bool) -> None:
    """O15."""
    assert apart(arrive(torch.float32, nesterov=nesterov), form_a_nesterov() if nesterov else form_a()) < 1e-4


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_parameters_all_move(dtype: torch.dtype, nesterov: bool) -> None:
    """O15: torch's fused SGD leaves 915 of these 1000 where they are."""
    signs = np.sign(np.random.default_rng(1).normal(size=(40, 25)))
    magnitudes = np.random.default_rng(2).uniform(0.5, 1.0, size=signs.shape)
    weight = parameter(magnitudes, dtype)
    start = weight.detach().double().numpy()
    end = follow(LARS([weight], momentum=0.0, nesterov=nesterov), [signs], [100.0])
    step = 100 * ETA * np.linalg.norm(start) / np.sqrt(1000)  # ten times the distance between neighbours
    assert (end != start).all()
    assert end == pytest.approx(start - step * signs, abs=2**-7)


def test_float16_parameters_survive_tiny_gradients() -> None:
    """Rate 5e5 times gradient 6e-8: the product fits, the rate does not."""
    tiny = np.full((64, 64), 2.0**-24)
    end = follow(LARS([parameter(np.ones((64, 64)), torch.float16)]), [tiny], [30.0])
    assert end == pytest.approx(np.full((64, 64), 0.97), abs=1e-3)


# What Horovod, schedulers and checkpoints ask of an optimizer


@pytest.mark.parametrize("momentum_correction", [False, True])
def test_a_saved_optimizer_continues_bit_for_bit(momentum_correction: bool) -> None:
    """O10: into an optimizer built with other options."""
    optimizer = LARS([parameter()], weight_decay=DECAY, eps=1e-3, momentum_correction=momentum_correction)
    middle = follow(optimizer, rates=RATES[:3])
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    straight = follow(optimizer, GRADIENTS[3:6], RATES[3:6])

    file.seek(0)
    resumed = LARS([parameter(middle)])
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert np.array_equal(follow(resumed, GRADIENTS[3:6], RATES[3:6]), straight)


# Options


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((option, -0.1) for option in ("lr", "momentum", "weight_decay", "trust_coefficient", "eps")),
        *((option, float("nan")) for option in ("lr", "momentum", "weight_decay", "trust_coefficient", "eps")),
        ("momentum", 1.0),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"^optimizer\.{option}: given {value}"):
        LARS([parameter()], **{option: value})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=rf"^optimizer\.{option}: given {value}"):
        LARS([{"params": [parameter()], option: value}])
