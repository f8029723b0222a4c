"""What is not finite is found in the gradients; the exact mean is tested over ranks in launch/test_exact_mean.py."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hpc_adabatch.training.gradient import GUARDED, small_and_finite


def parameter(gradient: torch.Tensor | None) -> nn.Parameter:
    made = nn.Parameter(torch.zeros_like(gradient) if gradient is not None else torch.zeros(3))
    made.grad = gradient
    return made


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_number_in_a_small_tensor_is_found(wrong: float, dtype: torch.dtype) -> None:
    fine, broken = torch.full((7,), -3.0, dtype=dtype), torch.zeros(2, 5, dtype=dtype)
    parameters = [parameter(fine), parameter(None), parameter(broken)]
    assert small_and_finite(parameters)
    broken[1, 3] = wrong
    assert not small_and_finite(parameters)


def test_a_large_tensor_is_passed_over_unless_all_are_asked_for() -> None:
    large = parameter(torch.full((GUARDED + 1,), math.nan))
    limit = parameter(torch.zeros(GUARDED))
    assert small_and_finite([large, limit])
    assert not small_and_finite([large, limit], GUARDED + 1)
    assert limit.grad is not None
    limit.grad[-1] = math.inf
    assert not small_and_finite([large, limit])


def test_nothing_to_look_at_is_finite() -> None:
    assert small_and_finite([])
    assert small_and_finite([parameter(None)])


def test_large_numbers_are_finite() -> None:
    """Bug story: the largest numbers were added up in float32."""
    assert small_and_finite([parameter(torch.tensor([3e38])), parameter(torch.tensor([3e38]))])


def test_a_parameter_without_elements_is_finite() -> None:
    assert small_and_finite([parameter(torch.zeros(0)), parameter(torch.zeros(2))])
