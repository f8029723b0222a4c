"""The loop of a recipe, in the lines of a user's own script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch

from ..training import Step

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Epochs(Protocol):
    """A training, or the life of one."""

    def epoch(self, epoch: int) -> Iterator[Step]:
        """Yields the steps of this epoch that remain."""


def train(training: Epochs, epochs: Iterable[int], loss: Loss) -> Iterator[Step]:
    """Trains epoch after epoch. Yields each step after its update; a caller may stop there.

    Args:
        training: The loop.
        epochs: The epochs in order; those that are done are passed over.
        loss: The mean loss of a micro-batch, from inputs and targets.
    """
    for epoch in epochs:
        for step in training.epoch(epoch):
            step.backward_all(loss)
            step.update()
            yield step
