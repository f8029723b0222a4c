"""The hooks see each pass alone, and nothing where they do not hang."""

from __future__ import annotations

import pytest
import torch

from hpc_adabatch.gradients import PieceMeter
from hpc_adabatch.gradients.pieces import CHUNK, square


@pytest.mark.parametrize("weight", [1.0, 0.25, 1024.0])
def test_each_pass_is_a_piece_whatever_its_loss_was_multiplied_by(weight: float) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)).double()
    inputs = torch.randn(11, 4).double()
    passes = inputs.split([5, 5, 1])
    meter = PieceMeter([list(model[0].parameters()), list(model[2].parameters())])
    meter.start(passes=len(passes))
    for part in passes:
        meter.piece(len(part), weight)
        (model(part).mean() * weight).backward()
    meter.stop()
    expected = torch.zeros(2).double()
    for part in passes:
        for number, layer in enumerate((model[0], model[2])):
            gradients = torch.autograd.grad(model(part).mean(), list(layer.parameters()))
            expected[number] += len(part) * sum(gradient.pow(2).sum() for gradient in gradients)
    assert meter.pieces == 3
    torch.testing.assert_close(meter.square_sums(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("keep", "parts"), [(1, [[0, 1, 2]]), (2, [[0, 1], [2]]), (3, [[0], [1], [2]])])
@pytest.mark.parametrize("weight", [1.0, 1024.0])
def test_kept_pieces_are_sums_of_passes_and_know_their_inner_products(
    keep: int, parts: list[list[int]], weight: float
) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)).double()
    inputs = torch.randn(11, 4).double()
    passes = inputs.split([5, 4, 2])
    meter = PieceMeter([list(model.parameters())])
    meter.start(passes=3, keep=keep)
    for part in passes:
        meter.piece(len(part), weight * len(part) / 11)
        (model(part).mean() * weight * len(part) / 11).backward()
    meter.stop()

    def gradient(samples: torch.Tensor) -> torch.Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(model(samples).mean(), list(model.parameters()))])

    pieces = [torch.cat([passes[i] for i in part]) for part in parts]
    mean = gradient(inputs)
    squares = sum(len(piece) * gradient(piece).pow(2).sum() for piece in pieces)
    inners = sum(len(piece) * (gradient(piece) @ mean) ** 2 for piece in pieces)
    assert meter.pieces == len(parts)
    torch.testing.assert_close(meter.square_sums().sum(), squares, rtol=1e-12, atol=0)
    for parameter in model.parameters():
        parameter.grad /= weight
    torch.testing.assert_close(meter.inner_square_sum(), inners, rtol=1e-12, atol=0)


def test_steps_that_are_not_measured_have_no_hooks() -> None:
    layer = torch.nn.Linear(3, 1)
    meter = PieceMeter([list(layer.parameters())])
    meter.start(passes=1)
    meter.stop()
    before = meter.square_sums()
    layer(torch.ones(2, 3)).sum().backward()
    assert torch.equal(meter.square_sums(), before)
    assert not layer.weight._backward_hooks


def test_a_parameter_used_twice_is_counted_once_with_its_whole_gradient() -> None:
    weight = torch.nn.Parameter(torch.tensor([2.0, 3.0]))
    meter = PieceMeter([[weight]])
    meter.start(passes=1)
    meter.piece(1, 1.0)
    (weight.sum() + (2 * weight).sum()).backward()
    assert meter.square_sums().item() == 18.0


def test_parameters_without_gradient_count_as_zero() -> None:
    used, unused = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    meter = PieceMeter([[used, unused], [unused]])
    meter.start(passes=1)
    meter.piece(1, 1.0)
    used.sum().backward()
    assert meter.square_sums().tolist() == [2.0, 0.0]
    assert meter.mean_squares().tolist() == [2.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_squares_are_summed_wide_enough(dtype: torch.dtype) -> None:
    """Three million elements of 0.5 in half precision would overflow or stall long before their sum."""
    assert square(torch.full((3 * CHUNK + 7,), 0.5, dtype=dtype)).item() == pytest.approx((3 * CHUNK + 7) / 4, rel=1e-6)


def test_large_tensors_keep_their_digits() -> None:
    values = torch.rand(20_000_000, generator=torch.Generator().manual_seed(0))
    assert square(values).item() == pytest.approx(values.double().pow(2).sum().item(), rel=1e-5)


def test_the_hooks_are_timed_by_the_clock_that_is_given() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    for ticks, expected in ((iter(range(100)), 2.0), (None, 0.0)):
        meter = (
            PieceMeter([[weight]], clock=lambda ticks=ticks: float(next(ticks))) if ticks else PieceMeter([[weight]])
        )
        meter.start(passes=2)
        for _ in range(2):
            meter.piece(1, 1.0)
            weight.sum().backward()
        meter.stop()
        assert meter.seconds == expected
