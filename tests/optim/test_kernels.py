"""Fused and plain passes over memory, against the formulas in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hpc_adabatch.optim import kernels
from hpc_adabatch.optim.kernels import LEAST_RATE, add_adam, momentum_step

HAS_FUSED = kernels.has_fused
SHAPES = (
    (),
    (1,),
    (7,),
    (16,),
    (33, 5),
    (64, 3, 3, 3),
    (40_001,),
)  # around the width of a vector, above a thread's share


@pytest.fixture(params=["fused", "plain"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "plain":
        monkeypatch.setattr(kernels, "has_fused", lambda _: False)
    return str(request.param)


def tensors(seed: int, dtype: torch.dtype) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=random, dtype=torch.float64).to(dtype) for shape in SHAPES]


def momentum_formula(weight: Any, gradient: Any, velocity: Any, how: dict[str, float]) -> tuple[Any, Any]:
    velocity = how["momentum"] * velocity + how["rate"] * (gradient + how["decay"] * weight)
    return weight - how.get("pull", 1.0) * velocity, velocity


def close(found: torch.Tensor, expected: torch.Tensor, exact: float) -> bool:
    return torch.allclose(found.double(), expected, rtol=exact, atol=exact)


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float32, 1e-6), (torch.float64, 1e-11)])
@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.7, 1.0, 30.0])
@pytest.mark.parametrize("how", [{"momentum": 0.9}, {"momentum": 0.9, "pull": 1.9}, {"momentum": -0.3}], ids=str)
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_a_velocity_takes_in_rate_and_decay(
    dtype: torch.dtype, exact: float, rate: float, how: dict[str, float], decay: float
) -> None:
    how = {**how, "rate": rate, "decay": decay}
    weights, gradients, velocities = (tensors(seed, dtype) for seed in range(3))
    before = [list(map(torch.clone, one)) for one in (weights, gradients, velocities)]
    momentum_step(weights, gradients, velocities, **how)
    for weight, velocity, gradient, *old in zip(weights, velocities, gradients, *before, strict=True):
        moved, kept = momentum_formula(*(one.double() for one in old), how)
        assert close(weight, moved, exact * max(1, rate))
        assert close(velocity, kept, exact * max(1, rate))
        assert torch.equal(gradient, old[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_momentum_the_velocity_is_still_what_a_later_momentum_continues(dtype: torch.dtype) -> None:
    """torch's SGD has no buffer at momentum 0."""
    [weight, gradient], velocity = (torch.randn(2, 100, dtype=dtype)), torch.full((100,), 1e30, dtype=dtype)
    momentum_step([weight], [gradient], [velocity], momentum=0.0, rate=0.5, decay=0.0)
    assert torch.equal(velocity, 0.5 * gradient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [*range(-12, -70, -1), -120])
def test_small_rates_lose_no_digits(dtype: torch.dtype, power: int) -> None:
    """1 - (1 - s) is 0 below 2^-54."""
    rate = 1.1 * 2.0**power
    gradient = torch.full((100,), 2.0 ** min(-power, 100), dtype=dtype)
    velocity, weight = torch.zeros_like(gradient), torch.zeros_like(gradient)
    momentum_step([weight], [gradient], [velocity], momentum=0.9, rate=rate, decay=0.0)
    digits = 2.0**-23 if dtype == torch.float32 else 2.0**-40
    assert (
        (-weight).tolist() == velocity.tolist() == pytest.approx([rate * gradient[0].item()] * 100, rel=digits, abs=0)
    )


def test_the_least_rates_are_those_that_survive_in_float64() -> None:
    for dtype, worst in ((torch.float32, 2.0**-24), (torch.float64, 2.0**-40)):
        rates = [LEAST_RATE[dtype] * (1 + n / 1000) for n in range(1000)]
        assert max(abs((1 - (1 - rate)) / rate - 1) for rate in rates) <= worst


@pytest.mark.parametrize("which", ["weight", "gradient", "velocity"])
def test_numbers_stored_in_another_order_meet_the_right_ones(which: str) -> None:
    """The fused kernel pairs numbers as they are stored: wrong by the size of the gradient here."""
    torch.manual_seed(0)
    one = {name: torch.randn(2, 3, 4, 5) for name in ("weight", "gradient", "velocity")}
    other = {name: tensor.clone() for name, tensor in one.items()}
    other[which] = other[which].contiguous(memory_format=torch.channels_last)
    for tensors in (one, other):
        lists = ([tensors[name]] for name in ("weight", "gradient", "velocity"))
        momentum_step(*lists, momentum=0.9, rate=0.5, decay=0.1)
    for name in one:
        assert torch.allclose(one[name], other[name], atol=1e-5)


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float32, 3e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("corrected", [True, False])
def test_adams_direction_is_added(dtype: torch.dtype, exact: float, corrected: bool) -> None:
    beta1, beta2, eps = 0.8, 0.95, 1e-3
    means, squares = ([torch.zeros_like(one) for one in tensors(0, dtype)] for _ in range(2))
    reference = [(torch.zeros_like(one), torch.zeros_like(one)) for one in tensors(0, torch.float64)]
    for step in (1, 2, 3):
        directions, gradients = tensors(9, dtype), tensors(step, dtype)
        first, second = (1 - beta1**step, 1 - beta2**step) if corrected else (1.0, 1.0)
        corrections = first, second
        add_adam(directions, gradients, means, squares, betas=(beta1, beta2), eps=eps, corrections=corrections)
        for n, (gradient, old) in enumerate(zip(tensors(step, dtype), tensors(9, dtype), strict=True)):
            assert torch.equal(gradients[n], gradient)
            mean, square = reference[n]
            mean = beta1 * mean + (1 - beta1) * gradient.double()
            square = beta2 * square + (1 - beta2) * gradient.double() ** 2
            reference[n] = mean, square
            assert close(directions[n], old.double() + mean / first / ((square / second).sqrt() + eps), exact)
            assert close(means[n], mean, exact)
            assert close(squares[n], square, exact)


def test_a_torch_without_the_kernels_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = HAS_FUSED.__wrapped__
    assert probe("cpu")

    def missing(*_: object, **__: object) -> None:
        raise NotImplementedError("Could not run 'aten::_fused_sgd_' with arguments from the 'CPU' backend")

    monkeypatch.setattr(torch, "_fused_sgd_", missing)
    assert not probe("cpu")
    monkeypatch.delattr(torch, "_fused_sgd_")
    assert not probe("cpu")
