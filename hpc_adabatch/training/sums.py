"""The sum over ranks after the passes of a step, and what all ranks learn beside it.

gradients         the mean over the batch
losses, weights   the mean loss; whether all of it is finite
void              some rank ran out of memory in a pass: all make the step again
unread            some rank could not read its samples: all raise its error
due, stop         a checkpoint is due after this step; all leave after it
measured          the lengths of the passes' gradients, where the step is measured
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from ..cluster import Cluster
from .checkpoint_clock import CheckpointClock
from .gradient import Gradient, Summed
from .measuring import Measuring, NotMeasuring
from .passes import Passes
from .signals import WAYS, StopFlag

FLAGS = 2 + WAYS  # due, unread, and each way of being told to stop


class Sums:
    """The sums of one step after another.

    Args:
        cluster: The ranks.
        gradient: The gradients of this rank.
        passes: The passes that they are of.
        measuring: The measurements of the gradient's noise.
        checkpoints: The clock that says after which step a checkpoint is due.
        stop_flag: The flag that tells this rank to stop.

    Attributes:
        stopped: The name of what told some rank to stop, on which all leave; None while they go on.
    """

    def __init__(
        self,
        cluster: Cluster,
        gradient: Gradient,
        passes: Passes,
        measuring: Measuring | NotMeasuring,
        checkpoints: CheckpointClock,
        stop_flag: StopFlag,
    ) -> None:
        self._cluster, self._gradient, self._passes = cluster, gradient, passes
        self._measuring, self._checkpoints, self._stop_flag = measuring, checkpoints, stop_flag
        self.stopped: str | None = None

    def over_ranks(self, step: int, samples: int, *, added: int = 0) -> Summed:
        """Makes ``p.grad`` the mean over the batch in hand on every rank.

        Args:
            step: The number of the step, from 1 on.
            samples: The samples of the batch.
            added: The samples that this sum adds to them; 0 for the first sum of a step.

        Raises:
            OneLineError: A rank could not read its samples; all ranks raise its error.
        """
        due, stop = self._checkpoints.number(step), self._stop_flag.numbers()
        measured = self._measuring.message()
        flags = [due, float(self._passes.unread is not None), *stop]
        summed = self._gradient.sum_over_ranks(flags, measured, samples=samples, added=added)
        if summed.beside[1]:
            with self._cluster.together():  # no rank is left waiting: all have the sum behind them
                if self._passes.unread is not None:
                    raise self._passes.unread
        if summed.void:  # what is due now is so when the step was made
            return summed
        self._checkpoints.hear(summed.beside[0])
        self.stopped = self._stop_flag.agreed(summed.beside[2 : len(flags)]) or self.stopped
        if measured:
            loss = summed.loss / summed.weight if summed.weight else math.nan
            add = partial(self._cluster.allreduce_, name="step.inner")
            finite = self._measuring.take(summed.beside[len(flags) :], samples, summed.weight, loss, add)
            summed = replace(summed, finite=finite and summed.finite)
        return summed
