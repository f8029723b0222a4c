"""What every rule that follows the gradients shares: it waits, moves in bounded steps, and does not chase noise.

    window     no decision before a whole window of samples has been measured
    dwell      measurements between two changes, at least
    growth     factor per change, at most; also where the signal cannot be told from zero
    tolerance  changes smaller than this part are not made
    shrink     whether the batch may become smaller again

Not here: what a rule wants (one file each), measuring (gradients/).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

from ..errors import require
from ..gradients import Estimate
from .policy import Policy, Progress, Proposal


@dataclass(kw_only=True, eq=False)
class Measured(Policy):
    """A rule that follows the measured noise of the gradient.

    Raises:
        InputError: a parameter is out of range.
    """

    window: int | None = None
    """Samples that the average reaches back; half an epoch when not given."""
    dwell: int = 5
    """Measurements between two changes, at least."""
    growth: float = 2.0
    """Factor per change, at most."""
    tolerance: float = 0.05
    """Relative change of the batch below which it stays."""
    shrink: bool = False
    """Whether the batch may become smaller again."""
    _changed_at: int = field(default=0, init=False, repr=False)  # measurements made when the batch was changed last

    def __post_init__(self) -> None:
        require(
            self.window is None or self.window >= 1, "policy.window", self.window, "1 or more", "--policy.window 20000"
        )
        require(self.dwell >= 1, "policy.dwell", self.dwell, "1 or more", "--policy.dwell 5")
        require(1 < self.growth < math.inf, "policy.growth", self.growth, "more than 1", "--policy.growth 2")
        small = 0 <= self.tolerance < 1
        require(small, "policy.tolerance", self.tolerance, "0 to below 1", "--policy.tolerance 0.05")

    @property
    def foreseeable(self) -> bool:
        return False

    def window_samples(self, samples_per_epoch: int, start_batch: int) -> float:
        """Samples that the average reaches back.

        Raises:
            InputError: the window is shorter than a batch.
        """
        window = self.window if self.window is not None else max(samples_per_epoch / 2, start_batch)
        require(
            window >= start_batch,
            "policy.window",
            window,
            f"global_batch ({start_batch}) or more",
            f"--policy.window {20 * start_batch}",
        )
        return float(window)

    @abstractmethod
    def wanted(self, estimate: Estimate, progress: Progress) -> float:
        """The batch that the rule wants, in samples, unbounded; infinite where the signal is lost in the noise."""

    def phase(self, progress: Progress) -> int:
        return progress.measurements

    def propose(self, progress: Progress) -> Proposal:
        now, estimate = progress.global_batch, progress.estimate
        if estimate is None or not estimate.full:
            return Proposal(global_batch=now, reason="measuring: the window is not full")
        if progress.measurements - self._changed_at < self.dwell:
            return Proposal(global_batch=now, reason="dwelling after a change")
        target = self.wanted(estimate, progress)
        bounded = min(target, now * self.growth, float(progress.max_global_batch))
        if not self.shrink:
            bounded = max(bounded, float(now))
        bounded = max(bounded, now / self.growth, 1.0)
        found = (
            f"noise scale {estimate.noise_scale:.4g} ({estimate.low:.4g} to {estimate.high:.4g}), wanted {target:.4g}"
        )
        if abs(bounded - now) <= self.tolerance * now:
            return Proposal(global_batch=now, reason=found)
        self._changed_at = progress.measurements
        return Proposal(global_batch=round(bounded), reason=found)

    def state_dict(self) -> dict[str, Any]:
        return {"changed_at": self._changed_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._changed_at = state["changed_at"]
