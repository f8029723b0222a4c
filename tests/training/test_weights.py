"""Losses that are means over other things than samples: words without padding, of which passes have more or fewer.

The oracle is torch's own mean over the whole global batch. On ranks: launch/programs/sums.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess

PAD = -100


def sentences(full: slice = slice(0, 0)) -> TensorDataset:
    """Returns 24 sentences of 10 words, each with its own number of words to learn; in ``full`` only padding."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(24, 10, 6, generator=generator).double()
    targets = torch.randint(4, (24, 10), generator=generator)
    lengths = torch.randint(1, 11, (24, 1), generator=generator)
    lengths[full] = 0
    return TensorDataset(words, torch.where(torch.arange(10) < lengths, targets, PAD))


def mean(model: nn.Module, words: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(model(words).flatten(0, 1), targets.flatten(), ignore_index=PAD)


def training(data: TensorDataset, **how: Any) -> hab.AdaptiveTraining:
    torch.manual_seed(0)
    model = nn.Linear(6, 4).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.0 if "step_size" in how else 0.9)
    batches = hab.AdaptiveBatches(data, 8, max_global_batch=16, max_micro_batch=how.pop("micro_batch", 3), seed=1)
    return hab.AdaptiveTraining(model, optimizer, batches, cluster=SingleProcess(), **how)


def take_in(loop: hab.AdaptiveTraining, step: Any, seen: list[Any]) -> None:
    """Goes through a step; ``seen`` gets its first round of micro-batches."""
    for words, targets in step:
        if torch.is_grad_enabled():
            seen.append((words, targets))
        step.backward(mean(loop.model, words, targets), weight=(targets != PAD).sum())


def direct(loop: hab.AdaptiveTraining, seen: list[Any]) -> tuple[float, list[torch.Tensor]]:
    """Returns loss and gradient of the whole batch at once."""
    loss = mean(loop.model, torch.cat([words for words, _ in seen]), torch.cat([targets for _, targets in seen]))
    return loss.item(), list(torch.autograd.grad(loss, list(loop.model.parameters())))


@pytest.mark.parametrize("how", ["passes of 3", "one is padding", "float16", "lengthened", "searched"])
def test_the_gradient_is_the_mean_over_what_counts(how: str) -> None:
    """Bug story: a pass was weighted by its samples, so that the gradient depended on how the batch was cut."""
    several: dict[str, dict[str, Any]] = {
        "float16": {"scaler": torch.amp.GradScaler("cpu", init_scale=128.0)},
        "lengthened": {"policy": hab.BigBatch(theta=0.3)},
        "searched": {"step_size": hab.Armijo(alpha=8.0)},
    }
    loop = training(sentences(slice(0, 6) if how == "one is padding" else slice(0, 0)), **several.get(how, {}))
    longest = 0
    for step in loop.epoch(0):
        seen: list[Any] = []
        take_in(loop, step, seen)
        loss, gradients = direct(loop, seen)
        longest = max(longest, len(step.batch))
        for parameter, expected in zip(loop.model.parameters(), gradients, strict=True):
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-12)
        assert step.loss == pytest.approx(loss, rel=1e-10)
        step.update()
    assert longest == 8 or (how == "lengthened" and longest > 8)


def test_the_noise_is_that_of_what_counts() -> None:
    """The formula of docs/statistics.md, with the part of the batch that a piece is of in place of its samples."""
    loop = training(sentences(), policy=hab.NoiseScale(), options=hab.LoopOptions(measure_every=1))
    for step in loop.epoch(0):
        seen: list[Any] = []
        take_in(loop, step, seen)
        of_batch = torch.cat([gradient.flatten() for gradient in direct(loop, seen)[1]])
        words = [float((targets != PAD).sum()) for _, targets in seen]
        lengths = [float(sum(gradient.square().sum() for gradient in direct(loop, [one])[1])) for one in seen]
        samples = sum(len(targets) for _, targets in seen)
        square_sum = sum(samples * of / sum(words) * length for of, length in zip(words, lengths, strict=True))
        expected = (square_sum - samples * float(of_batch.square().sum())) / (len(seen) - 1)
        step.update()
        assert loop.measuring.last is not None
        assert loop.measuring.last.variance == pytest.approx(expected, rel=1e-9)


def test_a_batch_of_nothing_is_skipped() -> None:
    loop = training(sentences(slice(0, 24)))
    before = loop.model.weight.clone()
    for step in loop.epoch(0):
        take_in(loop, step, [])
        step.update()
    assert loop.skipped == 3
    assert torch.equal(loop.model.weight, before)


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        ([-1.0], hab.InputError, "weight"),
        ([float("nan")], hab.InputError, "weight"),
        ([1.0, None], RuntimeError, "every micro-batch or on none"),
    ],
)
def test_weights_that_are_none(weights: list[float | None], error: type[Exception], words: str) -> None:
    loop = training(sentences())
    step = next(loop.epoch(0))

    def hand_in() -> None:
        for weight, (inputs, targets) in zip(weights, step, strict=False):
            step.backward(mean(loop.model, inputs, targets), weight)

    with pytest.raises(error, match=words):
        hand_in()
