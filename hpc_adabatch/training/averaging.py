"""From each rank's gradients to one step of the optimizer: sum over ranks, unscale, look for what is not finite, clip.

    backward ... backward -> sum over ranks -> loss scale off -> statistics -> finite? -> clip -> optimizer -> zero

What is measured is unscaled and not clipped; what LARS sees is the averaged, unscaled, clipped gradient, once a step.
Losses and the wish to stop ride beside the gradients, in a message of their own. Where a batch is lengthened, the sum
so far is set aside, and becomes part of the mean over the longer batch.

Not here: weighting the passes (step.py), statistics (measuring.py), the order of a step (adaptive.py).
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any

import torch
from torch import nn

from ..cluster import Cluster
from .measuring import LARGEST_GUARD, Measuring, small_and_finite
from .step import Step


class Averaging:
    """The gradients of a model on their way from the passes of all ranks to its optimizer.

    Args:
        model: whose trained parameters they belong to.
        optimizer: of them.
        cluster: the ranks.
        scaler: scales losses in float16.
        clip_norm: length to which the averaged gradient is shortened.
        compression: of gradients on their way between ranks, ``none`` or ``fp16``.

    Attributes:
        optimizer: the one to inspect and save: Horovod rebuilds what it is given.
        loss_scale: what the losses of this step are multiplied by.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        cluster: Cluster,
        *,
        scaler: torch.amp.GradScaler | None,
        clip_norm: float | None,
        compression: str,
    ) -> None:
        self.scaler, self.loss_scale = scaler, 1.0
        if scaler is not None:
            scaler.scale(torch.zeros((), device=cluster.device))  # else it has no state before its first loss
        self._cluster, self._clip_norm = cluster, clip_norm
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._reducer = cluster.distributed_optimizer(optimizer, model.named_parameters(), compression)
        self.optimizer: Any = self._reducer.optimizer
        self._aside: list[torch.Tensor] = []  # mean gradient of a batch that is being lengthened

    def begin_step(self) -> None:
        """Takes the scale for the losses of a step."""
        self.loss_scale = float(self.scaler.get_scale()) if self.scaler is not None else 1.0

    def expect(self, passes: int) -> None:
        """Before the first pass: how many there will be on this rank."""
        self._reducer.expect(max(1, passes))

    def sum_over_ranks(self, step: Step, measuring: Measuring | None, flags: list[float]) -> list[float]:
        """Makes ``p.grad`` the mean over the step's batch on every rank, and sees whether everything is finite.

        Args:
            step: its losses are summed too, and it learns whether it is finite.
            measuring: takes what the gradient's pieces tell, where the step is measured.
            flags: numbers to be summed beside.

        Returns:
            The flags, summed over ranks.
        """
        step.summed = True
        samples, noise = len(step.batch), measuring.message() if measuring is not None else []
        losses = step.take_losses()
        message = torch.cat([losses.view(1), losses.new_tensor(flags), *noise])
        summed = self._cluster.allreduce_async_(message, "step.measured" if noise else "step")  # beside the gradients
        self._reducer.reduce()
        loss, *numbers = summed().tolist()
        step.loss_sum += loss
        self._unscale(step)
        if self._aside:  # this sum was over what was added to the batch
            old, new = (samples - step.added) / samples, step.added / samples
            for p, aside in zip((p for p in self._trained if p.grad is not None), self._aside, strict=True):
                p.grad.mul_(new).add_(aside, alpha=old)  # type: ignore[union-attr]
            self._aside = []
        everything = self.scaler is not None  # float16 overflows in any of them
        finite = small_and_finite(self._trained, sys.maxsize if everything else LARGEST_GUARD)
        step.finite = step.finite and math.isfinite(loss) and finite
        if noise and measuring is not None:
            mean, add = step.loss_sum / samples, partial(self._cluster.allreduce_, name="step.inner")
            step.finite = measuring.take(numbers[len(flags) :], samples, mean, add) and step.finite
        return numbers[: len(flags)]

    def set_aside(self) -> None:
        """Keeps the mean so far; the next sum is over what is added to the batch."""
        self._aside = [p.grad.clone() for p in self._trained if p.grad is not None]
        self._reducer.zero_grad()

    def begin_again(self, passes: int) -> None:
        """Before the gradients of the same passes at other weights."""
        self._reducer.zero_grad()
        self.expect(passes)

    def sum_again(self, step: Step) -> None:
        """Sums them over ranks; the measurement stays that of the first ones."""
        self._reducer.reduce()
        self._unscale(step)
        step.take_losses()

    def finish(self, *, finite: bool) -> None:
        """The optimizer's step along ``p.grad``, where it is finite; then forgets the gradients."""
        if finite:
            if self._clip_norm is not None:
                nn.utils.clip_grad_norm_(self._trained, self._clip_norm)
            with self._reducer.applying():
                if self.scaler is not None:
                    self.scaler.step(self.optimizer)
                else:
                    self.optimizer.step()
        if self.scaler is not None:
            self.scaler.update(None if finite else self.loss_scale * self.scaler.get_backoff_factor())
        self._reducer.zero_grad()

    def _unscale(self, step: Step) -> None:
        """Takes the loss scale off the summed gradients. A GradScaler does so once a step; further sums are ours."""
        if self.scaler is None:
            return
        if step.unscaled:
            torch._foreach_mul_([p.grad for p in self._trained if p.grad is not None], 1 / self.loss_scale)
        else:
            self.scaler.unscale_(self.optimizer)
            step.unscaled = True
