"""Mean training losses since the journal's last line, and over whole epochs; skipped steps are in neither."""

from __future__ import annotations

import math


class Losses:
    """Sums of losses over samples, or over what they are means over, and their means.

    Attributes:
        last_epoch: The mean over the last whole epoch; None before its end, or where all its steps were skipped.
    """

    def __init__(self) -> None:
        self.last_epoch: float | None = None
        self._recent, self._epoch = (0.0, 0.0), (0.0, 0.0)  # loss, weight

    def add(self, loss_sum: float, weight: float) -> None:
        """Takes in a step with its summed loss, and the number of what was summed."""
        self._recent = self._recent[0] + loss_sum, self._recent[1] + weight
        self._epoch = self._epoch[0] + loss_sum, self._epoch[1] + weight

    def take_recent(self) -> float:
        """Returns the mean since the last call; nan where no step was taken in."""
        (loss, weight), self._recent = self._recent, (0.0, 0.0)
        return loss / weight if weight else math.nan

    def end_epoch(self) -> None:
        """Closes the epoch, and sets ``last_epoch``."""
        (loss, weight), self._epoch = self._epoch, (0.0, 0.0)
        self.last_epoch = loss / weight if weight else None

    def state_dict(self) -> list[float | None]:
        """Returns both sums and the last mean, for a checkpoint."""
        return [*self._recent, *self._epoch, self.last_epoch]

    def load_state_dict(self, state: list[float | None]) -> None:
        """Takes up what ``state_dict`` returned."""
        recent_loss, recent, epoch_loss, epoch, self.last_epoch = state
        self._recent = recent_loss or 0.0, recent or 0.0
        self._epoch = epoch_loss or 0.0, epoch or 0.0
