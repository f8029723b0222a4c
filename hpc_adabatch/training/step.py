"""One optimizer step, as the caller's loop holds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from ..batches import GlobalBatch
from .feed import Micro

MicroBatches = Iterator[Micro | None]


class Step:
    """One optimizer step: iterate over its micro-batches, call ``backward`` on each loss, then call ``update``.

        for inputs, targets in step:
            step.backward(loss_fn(model(inputs), targets))
        step.update()

    Iterating hands out more than the first micro-batches where the rule lengthens the batch in hand, and the same ones
    again where the step size is searched: the caller's loop is the same for all. When it ends, ``p.grad`` holds the
    mean over the global batch on every rank.

    Attributes:
        batch: The positions of the epoch that this step trains on, over all ranks.
        loss: The mean loss over the global batch; nan before the loop over its micro-batches has ended.
        updated: True once ``update`` was called.
        applied: True once it has moved the weights; False where the step was skipped, because it was not finite.
    """

    def __init__(
        self,
        batch: GlobalBatch,
        phases: Callable[[Step], MicroBatches],
        backward: Callable[[torch.Tensor, float | torch.Tensor | None], None],
    ) -> None:
        self.batch = batch
        self.loss = math.nan
        self.updated = self.applied = False
        self._backward = backward
        self._running = phases(self)  # yields micro-batches, then None; what follows is the update
        self._handed_out = False

    def __iter__(self) -> Iterator[Micro]:
        """Yields this rank's micro-batches on its device, in the form of the dataset's samples (AdaptiveBatches).

        Raises:
            RuntimeError: A micro-batch was left without ``backward``, or the step was iterated over before.
        """
        if self._handed_out:
            raise RuntimeError("a step hands out its micro-batches once")
        for micro_batch in self._running:
            if micro_batch is None:
                self._handed_out = True
                return
            yield micro_batch

    def backward(self, loss: torch.Tensor, weight: float | torch.Tensor | None = None) -> None:
        """Adds the gradient of the micro-batch in hand.

        Args:
            loss: The mean over the samples of the micro-batch, or over what ``weight`` counts. Shape ().
            weight: The number of what the loss is a mean over, where that is not samples but, for example, the words
                that are no padding: ``weight=(targets != pad).sum()``. The gradient is then the mean over those of the
                global batch. A micro-batch of weight 0 is passed by; a whole batch of weight 0 is skipped.

        Raises:
            InputError: The weight is negative or not finite.
            RuntimeError: It was called twice for one micro-batch, or outside the loop over them; or a weight was given
                for some micro-batches and not for others.
        """
        self._backward(loss, weight)

    def update(self) -> None:
        """Applies the optimizer, moves the cursor, and takes the next decision.

        Raises:
            RuntimeError: It was called twice, or before the loop over the micro-batches had ended.
            DivergedError: ``max_skipped`` steps in a row were skipped; all ranks raise it after the same step.
        """
        if self.updated:
            raise RuntimeError("update() was called twice in one step")
        if not self._handed_out:
            raise RuntimeError("update() comes after the loop over all micro-batches of the step")
        self.updated = True
        for _ in self._running:
            pass
