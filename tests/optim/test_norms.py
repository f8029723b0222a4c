"""Lengths of layers."""

from __future__ import annotations

import math

import pytest
import torch

from hpc_adabatch.optim.norms import norm, norms, on_host


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_float32_lengths_of_a_large_layer_keep_four_digits(layout: torch.memory_format) -> None:
    """Oracle O15."""
    weight = torch.linspace(-1, 1, 2_359_296).view(512, 512, 3, 3).contiguous(memory_format=layout)
    exact = weight.double().norm().item()
    assert norm(weight) == pytest.approx(exact, rel=1e-4)
    assert norms([weight])[0].item() == pytest.approx(exact, rel=1e-4)


def test_both_ways_agree() -> None:
    tensors = [torch.full((3, 4), 2.0), torch.tensor([[3.0, 4.0]]), torch.tensor(-7.0), torch.zeros(2)]
    assert norms(tensors).tolist() == pytest.approx([norm(tensor) for tensor in tensors])
    assert [norm(tensor) for tensor in tensors] == pytest.approx([math.sqrt(48), 5, 7, 0])
    assert norms(tensors).shape == (4,)


def test_a_slice_is_as_long_as_its_own_numbers() -> None:
    whole = torch.tensor([[3.0, 100.0], [4.0, 100.0]])
    assert norm(whole[:, 0]) == 5
    assert norm(whole.t()[0]) == 5


def test_only_a_cpu_is_the_host() -> None:
    assert on_host(torch.zeros(1))
    assert not on_host(torch.zeros(1, device="meta"))
