"""An epoch, or the part of it that this process trains: its loss, its samples and its time."""

from __future__ import annotations

import time

from ..training import Step


class EpochPart:
    """An epoch so far, or the part of it that this process trains, which begins with this object.

    Args:
        batch_before: The global batch at its beginning.

    Attributes:
        batch_before: The global batch at its beginning.
        loss_sum: The loss, summed over samples.
        samples: The samples, over all ranks.
        is_told: True where a line has told of it.
    """

    def __init__(self, batch_before: int) -> None:
        self.batch_before = batch_before
        self.loss_sum, self.samples, self.is_told = 0.0, 0, False
        self._began_s, self._seconds = time.monotonic(), 0.0

    @property
    def loss(self) -> float:
        """Returns the mean loss."""
        return self.loss_sum / self.samples

    def add(self, step: Step) -> None:
        """Adds a step that was updated."""
        self.loss_sum += step.loss * len(step.batch)
        self.samples += len(step.batch)

    def end(self) -> float:
        """Stops the clock. Returns the seconds that the part has taken."""
        self._seconds = time.monotonic() - self._began_s
        return self._seconds

    @property
    def running_s(self) -> float:
        """Returns the seconds so far; 0 when the clock has stopped."""
        return 0.0 if self._seconds else time.monotonic() - self._began_s

    @property
    def samples_per_s(self) -> float | None:
        """Returns the samples per second; None before the first step."""
        return self.samples / (self._seconds or self.running_s) if self.samples else None
