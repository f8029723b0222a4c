"""What is not finite is found in the gradients, and lowers the loss scale.

The exact mean is tested over ranks in launch/test_exact_mean.py.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.training.finite import GUARDED, are_finite, small
from hpc_adabatch.training.gradient import Gradient


def parameter(gradient: torch.Tensor | None) -> nn.Parameter:
    made = nn.Parameter(torch.zeros_like(gradient) if gradient is not None else torch.zeros(3))
    made.grad = gradient
    return made


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_number_in_a_small_tensor_is_found(wrong: float, dtype: torch.dtype) -> None:
    fine, broken = torch.full((7,), -3.0, dtype=dtype), torch.zeros(2, 5, dtype=dtype)
    assert are_finite([fine, broken])
    broken[1, 3] = wrong
    assert not are_finite([fine, broken])


def test_a_large_tensor_is_passed_over_unless_all_are_asked_for() -> None:
    large, limit, none = (
        parameter(torch.full((GUARDED + 1,), math.nan)),
        parameter(torch.zeros(GUARDED)),
        parameter(None),
    )
    assert are_finite(small([large, limit, none], GUARDED))
    assert not are_finite(small([large, limit, none], GUARDED + 1))
    assert limit.grad is not None
    limit.grad[-1] = math.inf
    assert not are_finite(small([large, limit, none], GUARDED))


def test_nothing_to_look_at_is_finite() -> None:
    assert are_finite([])


def test_large_numbers_are_finite() -> None:
    """Bug story: the largest numbers were added up in float32."""
    assert are_finite([torch.tensor([3e38]), torch.tensor([3e38])])


def test_a_tensor_without_elements_is_finite() -> None:
    assert are_finite([torch.zeros(0), torch.zeros(2)])


def scales_of_torch(overflows: list[bool]) -> list[tuple[float, int]]:
    """Loss scale and count of steps since it changed, after each step of torch's own loop."""
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3, backoff_factor=0.25)
    found = []
    for overflow in overflows:
        optimizer.zero_grad()
        scaler.scale(parameter.sum() * (math.inf if overflow else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        found.append((scaler.get_scale(), scaler.state_dict()["_growth_tracker"]))
    return found


@pytest.mark.parametrize("where", ["gradient", "loss"])
@given(overflows=st.lists(st.booleans(), min_size=1, max_size=12))
@settings(max_examples=25)
def test_the_loss_scale_goes_as_torchs_own_whoever_found_the_overflow(where: str, overflows: list[bool]) -> None:
    """Bug story: after a skip that we had decided, the scale grew again too soon, as its count went on."""
    model = nn.Linear(3, 1)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3, backoff_factor=0.25)
    gradient = Gradient(model, torch.optim.SGD(model.parameters(), lr=0.1), SingleProcess(), scaler=scaler)
    found, inputs = [], torch.ones(4, 3)
    for overflow in overflows:
        gradient.begin_step()
        gradient.expect(1)
        loss = model(inputs).mean()
        gradient.backward(loss * math.inf if overflow and where == "gradient" else loss, 4, gradient.factor(4, 4))
        if overflow and where == "loss":  # torch's scaler sees gradients alone
            gradient.add_loss(torch.tensor(math.inf), 1)
        summed = gradient.sum_over_ranks([], [], samples=4)
        assert summed.finite == (not overflow)
        gradient.apply(finite=summed.finite)
        found.append((scaler.get_scale(), scaler.state_dict()["_growth_tracker"]))
    assert found == scales_of_torch(overflows)
