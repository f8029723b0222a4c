"""Steps that changed nothing, because a loss or a gradient was not finite on some rank: counted, told, and too many."""

from __future__ import annotations

from typing import Any

from ..errors import DivergedError, advice, complain

WHY = "a loss or a gradient is not finite on some rank"


class Skips:
    """A count of the steps that were skipped, the same on every rank.

    Args:
        most: The steps in a row after which training has diverged.
        tells: True on the rank that prints; False where skipped steps are a matter of course, as with a loss scale that
            is too large at first.

    Attributes:
        total: The steps that were skipped.
    """

    def __init__(self, most: int, *, tells: bool) -> None:
        self.total = self._in_a_row = 0
        self._most, self._tells = most, tells

    def add(self, step: int) -> None:
        """Counts a step that was skipped, and says so on the screen when it is the first."""
        self.total += 1
        self._in_a_row += 1
        if self.total == 1 and self._tells:
            complain(f"adabatch: step {step} was skipped: {WHY}; further ones are in the journal")

    def end_row(self) -> None:
        """Notes a step that was taken."""
        self._in_a_row = 0

    @property
    def has_diverged(self) -> bool:
        """Reports whether too many steps in a row were skipped."""
        return self._in_a_row >= self._most

    @property
    def row(self) -> str:
        """Returns words for the steps in a row."""
        return f"{self._in_a_row} steps in a row were skipped"

    def error(self, step: int) -> DivergedError:
        """Returns the error that ends training at this step."""
        mend = "a lower --optimizer.lr, --clip_norm 1, or --learning_rate.warmup fixed --learning_rate.warmup_epochs 5"
        return DivergedError(
            f"training has diverged: {self._in_a_row} steps in a row, up to step {step}, were skipped, because a loss"
            f" or a gradient was not finite on some rank; try {advice(mend)}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns the counts."""
        return {"skipped": self.total, "skipped_in_a_row": self._in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what ``state_dict`` returned."""
        self.total = state["skipped"]
        self._in_a_row = state.get("skipped_in_a_row", 0)  # checkpoints of before it was counted
