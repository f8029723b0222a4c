"""One optimizer step, as the caller's loop holds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from ..batches import GlobalBatch
from .feed import Micro
from .pass_loss import Loss, LossOf, loss_of
from .passes import Passes

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
        passes: Passes,
        prepare: Callable[[LossOf], None],
    ) -> None:
        self.batch = batch
        self.loss = math.nan
        self.updated = self.applied = False
        self._passes, self._prepare = passes, prepare
        self._running = phases(self)  # yields micro-batches, then None; what follows is the update
        self._handed_out = False

    def __iter__(self) -> Iterator[Micro]:
        """Yields this rank's micro-batches on its device, in the form of the dataset's samples (AdaptiveBatches).

        Raises:
            InputError: ``max_micro_batch`` is auto: the passes are those of ``backward_all`` then.
            RuntimeError: A micro-batch was left without ``backward``, or the step was iterated over before.
        """
        self._passes.check_loop()
        yield from self._micro_batches()

    def _micro_batches(self) -> Iterator[Micro]:
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
        self._passes.backward(loss, weight)

    def backward_all(self, loss: Loss) -> None:
        """Passes through all micro-batches of the step, and adds the gradient of each: the loop over them in one call.

            step.backward_all(lambda inputs, targets: loss_fn(model(inputs), targets))
            step.update()

        With ``max_micro_batch="auto"`` the first call finds how many samples a pass may have. Where a later pass is too
        large for the memory of some rank, all ranks make the step again, with passes of half as many samples.

        Args:
            loss: A function of a micro-batch, of a tuple of its parts, which returns what ``backward`` takes: the mean
                loss, or a tuple of loss and weight.

        Raises:
            InputError: Not even one sample fits into the memory; all ranks raise it.
        """
        of = loss_of(loss)
        self._prepare(of)
        for micro_batch in self._micro_batches():
            try:
                self._passes.backward(*of(micro_batch))
            except Exception as error:
                if not self._passes.gives_up(error):
                    raise

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
