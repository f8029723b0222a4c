"""What every rule that follows the gradients shares: it waits, moves in bounded steps, and does not chase noise.

    window     no decision before a whole window of samples has been measured; ten measurements, where a rule turns back
    dwell      measurements between two changes, at least
    growth     factor per change, at most; also where the signal cannot be told from zero
    interval   no change while the batches that the 95 % interval of the noise scale would want hold the present one
    tolerance  changes smaller than this part are not made
    shrink     the batch may become smaller
    lower_lr   beyond the maximum the learning rate falls instead, by maximum / batch wanted (Sievert & Shah 2021,
               https://arxiv.org/abs/1910.08222); growth bounds one change of it as it does one of the batch

Batches are rounded so that all ranks and passes get equally many samples (batches/micro_batch.py).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ..batches.micro_batch import even, next_even
from ..errors import real, require, whole
from ..gradients import LEAST_MEASUREMENTS, Estimate
from ..numerals import brief
from .policy import Policy, Progress, Proposal


@dataclass(kw_only=True, eq=False)
class Measured(Policy):
    """A rule that follows the measured noise of the gradient.

    Args:
        window: Window of the averages over measurements, in samples; half an epoch when not given.
        dwell: Least number of measurements between two changes.
        growth: Largest factor of one change of the batch.
        tolerance: Smallest relative change of the batch that is made.
        shrink: Allows the batch to become smaller.
        lower_lr: Lowers the learning rate instead of growing the batch beyond its maximum.

    Raises:
        InputError: An argument is out of range.
    """

    measures: ClassVar[bool] = True
    waits: ClassVar[bool] = True  # for a whole window
    window: int | None = None
    dwell: int = 5
    growth: float = 2.0
    tolerance: float = 0.05
    shrink: bool = False
    lower_lr: bool = False
    _changed_at: int = field(default=0, init=False, repr=False)  # measurements made when the batch was changed last

    def __post_init__(self) -> None:
        require(
            self.window is None or whole(self.window) >= 1,
            "policy.window",
            self.window,
            "1 or more",
            "--policy.window 20000",
        )
        require(whole(self.dwell) >= 1, "policy.dwell", self.dwell, "1 or more", "--policy.dwell 5")
        require(1 < real(self.growth) < math.inf, "policy.growth", self.growth, "more than 1", "--policy.growth 2")
        small = 0 <= real(self.tolerance) < min(1.0, self.growth - 1 - 1e-9)  # 1.05 - 1 is above 0.05 in binary
        allowed = f"0 to below 1, and below growth - 1 ({self.growth - 1:g})"
        for name in ("shrink", "lower_lr"):
            value = getattr(self, name)
            require(isinstance(value, bool), f"policy.{name}", value, "true or false", f"--policy.{name} true")
        require(small, "policy.tolerance", self.tolerance, allowed, "--policy.tolerance 0.05")

    @property
    def foreseeable(self) -> bool:
        return False

    def window_samples(self, samples_per_epoch: int, start_batch: int) -> float:
        """Returns the window of the averages over measurements, in samples.

        Raises:
            InputError: The window is shorter than a batch.
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
        """Returns the batch that the rule wants, in samples, before all bounds; infinite if noise hides the signal."""

    def phase(self, progress: Progress) -> int:
        return progress.measurements

    def propose(self, progress: Progress) -> Proposal:
        now, factor, estimate = progress.global_batch, progress.learning_rate_factor, progress.estimate
        # no change on little evidence, or soon after the last change
        if estimate is None or not (estimate.full or (progress.measurements >= LEAST_MEASUREMENTS and not self.waits)):
            return Proposal(global_batch=now, learning_rate_factor=factor, reason="measuring: the window is not full")
        if progress.measurements - self._changed_at < self.dwell:
            return Proposal(global_batch=now, learning_rate_factor=factor, reason="dwelling after a change")
        # the batches wanted at the lower end of the interval, at the estimate and at the upper end
        least, target, most = (
            self.wanted(_with(estimate, scale), progress)
            for scale in (estimate.low, estimate.noise_scale, estimate.high)
        )
        found = (
            f"noise scale {brief(estimate.noise_scale)} ({brief(estimate.low)} to {brief(estimate.high)}),"
            f" wanted {brief(target)} ({brief(least)} to {brief(most)})"
        )
        standing = now / factor  # the batch that this learning rate stands for
        if least <= standing <= most:  # the evidence allows the present batch
            return Proposal(global_batch=now, learning_rate_factor=factor, reason=found)
        batch, factor = self._bounded(target, standing, progress)
        if (batch, factor) != (now, progress.learning_rate_factor):
            self._changed_at = progress.measurements
        return Proposal(global_batch=batch, learning_rate_factor=factor, reason=found)

    def _bounded(self, target: float, standing: float, progress: Progress) -> tuple[int, float]:
        """Returns batch and learning-rate factor, no further from the present ones than one change may go."""
        now, ranks, micro = progress.global_batch, progress.n_ranks, progress.max_micro_batch
        maximum = progress.max_global_batch
        least = min(progress.min_global_batch, maximum)
        # one change is a factor of growth at most, and none is made below the tolerance
        bounded = min(target, standing * self.growth)
        if not self.shrink:
            bounded = max(bounded, standing)
        bounded = max(bounded, standing / self.growth, 1.0)
        if abs(bounded - standing) <= self.tolerance * standing:
            return now, progress.learning_rate_factor
        # beyond the maximum the learning rate takes the rest
        top = max(even(maximum, ranks, micro, least=least, most=maximum), now)
        if bounded >= top:
            return top, top / bounded if self.lower_lr else 1.0
        # below it an even batch, such that rounding neither reverses a change nor swallows it
        goal = even(target, ranks, micro, least=least, most=maximum)
        batch = even(bounded, ranks, micro, least=least, most=maximum)
        if goal == now or (goal > now) != (bounded > now):  # what is wanted rounds to the present batch
            batch = now
        elif batch == now or (batch > now) != (goal > now):  # a small change is not rounded to none
            batch = next_even(now, ranks, micro, limit=goal)
        return batch, 1.0

    def state_dict(self) -> dict[str, Any]:
        return {"changed_at": self._changed_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._changed_at = state["changed_at"]


def _with(estimate: Estimate, noise_scale: float) -> Estimate:
    """Returns the estimate with another noise scale; the variance stays, as it is known far better than the signal."""
    if noise_scale == estimate.noise_scale:
        return estimate
    return replace(estimate, signal=estimate.variance / noise_scale if noise_scale > 0 else math.inf)
