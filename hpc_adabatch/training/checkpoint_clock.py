"""When a checkpoint is due inside an epoch: by minutes, by steps, or because somebody asks for one.

    rank 0     its clock, its steps, the file of a request       -> a number beside the gradients
    all ranks  the sum of the numbers is not zero                -> ``due``, after the same step on every rank

The minutes can be left to the run: with a checkpoint that costs c seconds of training and a failure every M seconds,
what is lost to checkpoints and to work done again is least after every

    W = sqrt(2 c M) (1 + sqrt(c / 2M) / 3 + c / 18M) - c         for c < 2M

seconds (Daly, Future Generation Computer Systems 22 (2006) 303, eq. 37; the first factor is Young's, Communications of
the ACM 17 (1974) 530). c is measured at each checkpoint; M is that of this job: its hours over its failures, which both
begin at one a day. W is kept between a minute and an hour, and so long that checkpoints take at most 1 % of the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Minutes = float | Literal["auto"] | None
PRIOR_S = 24 * 3600.0  # a day with one failure, before the job has any history
SHORTEST_S, LONGEST_S = 60.0, 3600.0
COST = 0.01  # the part of the time that checkpoints may take
LOOK_EVERY_S = 1.0


class CheckpointClock:
    """A clock that tells all ranks after the same step that a checkpoint is due.

    Args:
        minutes: The minutes from one checkpoint to the next; ``auto`` for Daly's; None for none by time.
        steps: The steps from one to the next; None for none by steps.
        leads: True on rank 0, whose clock counts.

    Attributes:
        due: True from the step on after which a checkpoint is due, until one is saved.
        request: The file by which a checkpoint is asked for; None where there is none to look for.
        ran_s: The seconds that the run took before this process.
        failures: The times that the run ended without being asked to, before this process.
    """

    def __init__(self, minutes: Minutes, steps: int | None, *, leads: bool) -> None:
        self.due = False
        self.request: Path | None = None
        self.ran_s, self.failures = 0.0, 0
        self._minutes, self._steps, self._leads = minutes, steps, leads
        self._began_s = self._saved_s = self._looked_s = time.monotonic()
        self._saved_at = 0
        self._cost_s = self._wrote_s = 0.0

    def start(self, step: int) -> None:
        """Counts from this step on, as if a checkpoint had just been saved."""
        self._saved_s, self._saved_at, self.due = time.monotonic(), step, False

    def number(self, step: int) -> float:
        """Returns 1 on rank 0 where a checkpoint is due after so many steps, else 0; to be summed over ranks."""
        if not self._leads:
            return 0.0
        by_steps = self._steps is not None and step - self._saved_at >= self._steps
        return float(by_steps or time.monotonic() - self._saved_s >= self.interval_s() or self._asked())

    def hear(self, total: float) -> None:
        """Takes the number summed over ranks."""
        self.due = self.due or total > 0

    def interval_s(self) -> float:
        """Returns the seconds from one checkpoint to the next, as far as they go by time."""
        if self._minutes is None:
            return math.inf
        if self._minutes != "auto":
            return 60 * self._minutes
        between_s = (PRIOR_S + self.ran_s + time.monotonic() - self._began_s) / (1 + self.failures)
        wanted_s = max(daly(self._cost_s, between_s), self._cost_s / COST, 2 * self._wrote_s)
        return min(max(wanted_s, SHORTEST_S), LONGEST_S)

    @contextmanager
    def saving(self, step: int) -> Iterator[None]:
        """Times a block that saves a checkpoint after so many steps, and counts from its end on."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self._cost_s = time.monotonic() - began_s
            self.start(step)

    def wrote(self, seconds: float) -> None:
        """Tells how long a checkpoint took to be written beside training: the next one is not due while it is."""
        self._wrote_s = seconds

    def _asked(self) -> bool:
        if self.request is None or time.monotonic() - self._looked_s < LOOK_EVERY_S:
            return False
        self._looked_s = time.monotonic()
        return self.request.exists()


def daly(cost_s: float, between_s: float) -> float:
    """Returns the seconds from one checkpoint to the next after which least is lost (Daly 2006, eq. 37).

    Args:
        cost_s: The seconds that a checkpoint takes from training.
        between_s: The mean seconds between failures.
    """
    if cost_s >= 2 * between_s:
        return between_s
    part = cost_s / (2 * between_s)
    return math.sqrt(2 * cost_s * between_s) * (1 + math.sqrt(part) / 3 + part / 9) - cost_s
