"""Mean training losses since the journal's last line, and over whole epochs; skipped steps are in neither."""

from __future__ import annotations

import math


class Losses:
    """Sums of losses over samples, and their means.

    Attributes:
        last_epoch: The mean over the last whole epoch; None before its end, or where all its steps were skipped.
    """

    def __init__(self) -> None:
        self.last_epoch: float | None = None
        self._recent, self._epoch = (0.0, 0), (0.0, 0)  # loss, samples

    def add(self, loss_sum: float, samples: int) -> None:
        """Takes in a step with its loss, summed over its samples."""
        self._recent = self._recent[0] + loss_sum, self._recent[1] + samples
        self._epoch = self._epoch[0] + loss_sum, self._epoch[1] + samples

    def take_recent(self) -> float:
        """Returns the mean since the last call; nan where no step was taken in."""
        (loss, samples), self._recent = self._recent, (0.0, 0)
        return loss / samples if samples else math.nan

    def end_epoch(self) -> None:
        """Closes the epoch, and sets ``last_epoch``."""
        (loss, samples), self._epoch = self._epoch, (0.0, 0)
        self.last_epoch = loss / samples if samples else None

    def state_dict(self) -> list[float | None]:
        """Returns both sums and the last mean, for a checkpoint."""
        return [*self._recent, *self._epoch, self.last_epoch]

    def load_state_dict(self, state: list[float | None]) -> None:
        """Takes up what ``state_dict`` returned."""
        recent_loss, recent, epoch_loss, epoch, self.last_epoch = state
        self._recent = recent_loss or 0.0, int(recent or 0)
        self._epoch = epoch_loss or 0.0, int(epoch or 0)
