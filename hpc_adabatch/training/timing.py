"""The seconds that a step takes on this rank, by global batch: data, passes, sum over ranks, update.

Medians over the last steps of each batch leave a checkpoint or a busy machine out. Steps that the end of an epoch cuts
short are not counted, nor those that measure, unless all do: they take another time than a step of their batch.

    |-- data, forward, backward --|-- sum over ranks, update --|
    begin                         summing                      end

What the first part takes grows with the batch, the second hardly does. A GPU's passes are only asked for in the first.
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
        self._seconds: dict[int, deque[tuple[float, float]]] = {}  # of whole steps, and of their passes
        self._medians: dict[int, tuple[float, float]] = {}  # of both: a run may have hundreds of batches
        self._began_s = self._summing_s = 0.0
        self._latest = 0

    def begin(self) -> None:
        """Starts the clock of a step."""
        self._began_s = time.perf_counter()

    def summing(self) -> None:
        """Tells the clock that the passes are done, and the sum over ranks follows."""
        self._summing_s = time.perf_counter()

    def end(self, global_batch: int) -> None:
        """Stops the clock, after an update with this global batch."""
        seconds = time.perf_counter() - self._began_s, self._summing_s - self._began_s
        last = self._seconds.setdefault(global_batch, deque(maxlen=REMEMBERED))
        last.append(seconds)
        if len(last) >= FEWEST:
            whole, passes = map(statistics.median, zip(*last, strict=True))
            self._medians[global_batch] = whole, passes
        self._latest = global_batch

    def medians(self) -> dict[int, float]:
        """Returns the median seconds of a step by global batch, for batches that took enough steps to tell."""
        return {batch: whole for batch, (whole, _) in self._medians.items()}

    def pass_medians(self) -> dict[int, float]:
        """Returns the median seconds of the passes of a step, for the same batches."""
        return {batch: passes for batch, (_, passes) in self._medians.items()}

    def latest(self) -> float | None:
        """Returns the median seconds of a step as large as the last one; None before there are enough steps."""
        return self._medians[self._latest][0] if self._latest in self._medians else None
