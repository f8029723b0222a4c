"""The loop of a recipe, in the lines of a user's own script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from ..training import AdaptiveTraining, Step

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def train(training: AdaptiveTraining, epochs: Iterable[int], loss: Loss) -> Iterator[Step]:
    """Trains epoch after epoch. Yields each step after its update; a caller may stop there.

    Args:
        training: The loop.
        epochs: The epochs in order; those that are done are passed over.
        loss: The mean loss of a micro-batch, from inputs and targets.
    """
    for epoch in epochs:
        for step in training.epoch(epoch):
            for inputs, targets in step:
                step.backward(loss(inputs, targets))
            step.update()
            yield step
