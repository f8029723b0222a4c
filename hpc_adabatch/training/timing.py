"""The seconds that a step takes on this rank, by global batch: data, passes, sum over ranks, update.

Medians over the last steps of each batch leave a checkpoint or a busy machine out. Steps that measure, or that the end
of an epoch cuts short, are not counted: they take another time than a step of their batch.
"""

from __future__ import annotations

import statistics
import time
from collections import deque

REMEMBERED = 15  # steps of each batch
FEWEST = 3


class StepTimes:
    """A clock of steps, which remembers the last ones of each global batch."""

    def __init__(self) -> None:
        self._seconds: dict[int, deque[float]] = {}
        self._began_s = 0.0
        self._latest = 0

    def begin(self) -> None:
        """Starts the clock of a step."""
        self._began_s = time.perf_counter()

    def end(self, global_batch: int) -> None:
        """Stops the clock, after an update with this global batch."""
        seconds = time.perf_counter() - self._began_s
        self._seconds.setdefault(global_batch, deque(maxlen=REMEMBERED)).append(seconds)
        self._latest = global_batch

    def medians(self) -> dict[int, float]:
        """Returns the median seconds of a step by global batch, for batches that took enough steps to tell."""
        return {batch: statistics.median(values) for batch, values in self._seconds.items() if len(values) >= FEWEST}

    def latest(self) -> float | None:
        """Returns the median seconds of a step as large as the last one; None before there are enough steps."""
        return self.medians().get(self._latest)
