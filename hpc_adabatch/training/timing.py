"""How long a step takes at each batch, on this rank: data, passes, sum over ranks, update.

Medians over the last steps of each batch, so that a checkpoint or a busy machine in between does not count. Steps that
search, measure or are cut short by the end of an epoch are not counted either: their batch is not what they took.

Not here: what is decided from it (policies/goodput.py, measuring.py).
"""

from __future__ import annotations

import statistics
import time
from collections import deque

REMEMBERED = 15  # steps of each batch
FEWEST = 3


class StepTimes:
    """Seconds of the steps of each global batch."""

    def __init__(self) -> None:
        self._seconds: dict[int, deque[float]] = {}
        self._began_s = 0.0
        self._latest = 0

    def begin(self) -> None:
        """A step begins."""
        self._began_s = time.perf_counter()

    def end(self, global_batch: int) -> None:
        """It ends, after an update with this batch."""
        seconds = time.perf_counter() - self._began_s
        self._seconds.setdefault(global_batch, deque(maxlen=REMEMBERED)).append(seconds)
        self._latest = global_batch

    def medians(self) -> dict[int, float]:
        """Seconds of a step by global batch, for batches that took enough steps to tell."""
        return {batch: statistics.median(values) for batch, values in self._seconds.items() if len(values) >= FEWEST}

    def latest(self) -> float | None:
        """Seconds of a step as large as the last one; None before there are enough."""
        return self.medians().get(self._latest)
