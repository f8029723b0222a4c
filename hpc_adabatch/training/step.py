"""One optimizer step: micro-batches in, one update out.

Contract 1, the exact mean. Pass i of rank r holds b of the B samples of the global batch, and its loss is their mean:

    sum over ranks and passes of  (b / B) * gradient of the mean loss   =   gradient of the mean over the B samples

for uneven shares, ragged last batches and empty ranks alike. Horovod sums; the weights b / B are set here.

Not here: what the batch is (adaptive.py), the sum over ranks (cluster/).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from ..batches import GlobalBatch
from ..batches.keys import sample_keys

if TYPE_CHECKING:
    from .adaptive import AdaptiveTraining


class Step:
    """The passes of this rank through one global batch: iterate, call ``backward`` on each loss, then ``update``.

    Attributes:
        batch: the positions of the epoch that this step trains on, over all ranks.
        passes: samples of each pass of this rank.
        loss: mean loss over the global batch; nan until ``update``.
    """

    def __init__(self, training: AdaptiveTraining, batch: GlobalBatch, passes: list[int]) -> None:
        self._training = training
        self._samples = 0  # of the pass in hand
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=training.device)
        self.batch = batch
        self.passes = passes
        self.loss = float("nan")
        self.updated = False

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """This rank's micro-batches, on its device: the dataset's fields as tensors of shape (samples, ...)."""
        batches, device = self._training.batches, self._training.device
        for n_samples in self.passes:
            columns, indices = self._training.loader.take(n_samples)
            inputs, *others = (column.to(device, non_blocking=True) for column in columns)
            if batches.transform is not None:
                keys = sample_keys(batches.seed, self.batch.epoch, indices).to(device, non_blocking=True)
                inputs = batches.transform(inputs, keys)
            self._samples = n_samples
            yield (inputs, *others)

    def backward(self, loss: torch.Tensor) -> None:
        """Adds the gradient of this pass.

        Args:
            loss: mean over the samples of the micro-batch in hand. Shape ().

        Raises:
            RuntimeError: called twice for one micro-batch, or before the first.
        """
        if self._samples == 0:
            raise RuntimeError("one backward(loss) for each micro-batch of the step")
        weight = self._samples / len(self.batch)
        if self._training.measuring is not None:
            self._training.measuring.begin_pass(self._samples, weight)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        self._loss_sum += loss.detach().double() * self._samples
        self._samples = 0

    def update(self) -> None:
        """Sums over ranks, applies the optimizer, moves the cursor, and takes the next decision."""
        if self.updated:
            raise RuntimeError("update() was called twice in one step")
        self.updated = True
        self.loss = self._training.finish_step(self, self._loss_sum)
