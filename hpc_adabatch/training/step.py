"""One optimizer step: micro-batches in, one update out.

Contract 1, the exact mean. Pass i of rank r holds b of the B samples of the global batch, and its loss is their mean:

    sum over ranks and passes of  (b / B) * gradient of the mean loss   =   gradient of the mean over the B samples

for uneven shares, ragged last batches and empty ranks alike. Horovod sums; the weights b / B are set here.

Iterating a step hands out more than its first micro-batches where the rule lengthens the batch in hand, and the same
ones again where the step size is searched: the caller's loop is the same for all.

Not here: what the batch is (adaptive.py), what is added to it (lengthening.py), the sum over ranks (cluster/), the
search (line_search.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from ..batches import GlobalBatch
from ..batches.keys import sample_keys
from .lengthening import lengthen

if TYPE_CHECKING:
    from .adaptive import AdaptiveTraining


class Step:
    """The passes of this rank through one global batch: iterate, call ``backward`` on each loss, then ``update``.

    Attributes:
        batch: the positions of the epoch that this step trains on, over all ranks.
        passes: samples of each pass of this rank.
        loss: mean loss over the global batch; nan until ``update``.
        loss_sum: loss summed over samples and ranks, as far as it was summed over ranks.
        finite: whether losses and gradients were finite so far, on all ranks.
        summed: whether ``p.grad`` holds the mean over ``batch`` on all ranks.
        unscaled: whether the GradScaler has taken the loss scale off in this step.
        added: samples by which the batch was lengthened last.
        wanted: the batch that the rule came to in this step; 0 where it did not speak.
    """

    def __init__(self, training: AdaptiveTraining, batch: GlobalBatch, passes: list[int]) -> None:
        self._training = training
        self._samples = 0  # of the pass in hand
        self._mean_over = len(batch)  # samples over which the gradients of the passes in hand become a mean
        self._losses = torch.zeros((), dtype=torch.float64, device=training.device)
        self._again, self._gradients = False, True
        self._taken: list[tuple[tuple[torch.Tensor, ...], torch.Tensor]] = []  # for the search
        self.batch = batch
        self.passes = passes
        self.loss = float("nan")
        self.loss_sum = 0.0
        self.finite = True
        self.summed = False
        self.updated = self.unscaled = False
        self.added = 0
        self.wanted = 0

    @property
    def passes_taken(self) -> int:
        """Passes of this rank so far, where they are kept for a search."""
        return len(self._taken)

    @property
    def is_whole(self) -> bool:
        """Whether it has its batch's samples; the fewer left of an epoch say nothing about a whole batch."""
        return len(self.batch) >= self._training.global_batch

    @property
    def batch_after(self) -> int:
        """The batch from this step on: larger where the rule lengthened it, or wanted to at the end of an epoch."""
        return max(self._training.global_batch, self.wanted)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """This rank's micro-batches, on its device: the dataset's fields as tensors of shape (samples, ...)."""
        yield from self._take(self.passes)
        training = self._training
        while (more := lengthen(self, training)) is not None:
            self._mean_over = more.samples
            yield from self._take(more.passes)
        if training.line_search is not None:
            yield from training.line_search.run(self)

    def again(self, *, gradients: bool) -> Iterator[tuple[torch.Tensor, ...]]:
        """The same micro-batches once more, at the weights there are now; ``gradients`` or losses only."""
        self._again, self._gradients, self._mean_over = True, gradients, len(self.batch)
        was_enabled = torch.is_grad_enabled()
        for columns, indices in self._taken:
            self._samples = len(indices)
            ready = self._ready(columns, indices)
            torch.set_grad_enabled(gradients)
            yield ready
            torch.set_grad_enabled(was_enabled)
        self._again, self._gradients = False, True

    def backward(self, loss: torch.Tensor) -> None:
        """Adds the gradient of this pass.

        Args:
            loss: mean over the samples of the micro-batch in hand. Shape ().

        Raises:
            RuntimeError: called twice for one micro-batch, or before the first.
        """
        if self._samples == 0:
            raise RuntimeError("one backward(loss) for each micro-batch of the step")
        if self._gradients:
            weight = self._samples / self._mean_over * self._training.averaging.loss_scale
            if self._training.measuring is not None and not self._again:
                self._training.measuring.begin_pass(self._samples, weight)
            (loss * weight).backward()  # type: ignore[no-untyped-call]
        self._losses += loss.detach().double() * self._samples
        self._samples = 0

    def take_losses(self) -> torch.Tensor:
        """The loss summed over this rank's samples since the last call. Shape (), float64."""
        losses, self._losses = self._losses, torch.zeros_like(self._losses)
        return losses

    def update(self) -> None:
        """Sums over ranks, applies the optimizer, moves the cursor, and takes the next decision."""
        if self.updated:
            raise RuntimeError("update() was called twice in one step")
        self.updated = True
        self._training.finish_step(self)

    def _take(self, passes: list[int]) -> Iterator[tuple[torch.Tensor, ...]]:
        for n_samples in passes:
            columns, indices = self._training.loader.take(n_samples)
            if self._training.line_search is not None:
                self._taken.append((columns, indices))
            self._samples = n_samples
            yield self._ready(columns, indices)

    def _ready(self, columns: tuple[torch.Tensor, ...], indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """On the device, augmented."""
        batches, device = self._training.batches, self._training.device
        inputs, *others = (column.to(device, non_blocking=True) for column in columns)
        if batches.transform is not None:
            keys = sample_keys(batches.seed, self.batch.epoch, indices).to(device, non_blocking=True)
            inputs = batches.transform(inputs, keys)
        return (inputs, *others)
