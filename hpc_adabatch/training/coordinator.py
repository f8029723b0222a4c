"""Rank 0 decides, every rank learns, at the same cursor.

    every rank   phase(progress) changed, a step was measured, or a warm-up looks at its losses?  -- no -->  go on
    rank 0       propose(progress) -> bounds
    every rank   <- six or seven numbers (``Cluster.announce``); they hold from this cursor on, and are journalled

    number                     why rank 0's is taken
    batch, learning rate       one place to decide and to log
    cursor                     ranks that have drifted apart say so at once
    pace of measuring          it comes from rank 0's clock
    variance, disjoint signal  AdaScale's learning rate; NCCL does not promise equal sums on all ranks
    height of the warm-up      likewise; where its losses are looked at (learning_rate/auto_warmup.py)

An announcement takes microseconds by MPI, a cycle of Horovod's without (docs/results/decision-latency.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..cluster import Cluster
from ..errors import require
from ..gradients import Measurement
from ..learning_rate import Look
from ..policies import Policy, Progress

UNKNOWN = (math.nan, math.nan)
HELD = "the batch stays until the warm-up has ended"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A decision of rank 0, which holds on every rank from a cursor on."""

    global_batch: int
    """The samples of an optimizer step, over all ranks."""
    learning_rate_factor: float
    """The factor of the scheduled learning rate."""
    samples_seen: int
    """The cursor at which it takes effect: the samples trained on until then."""
    pace: int | None = None
    """The steps from one measurement to the next; None leaves the pace and the noise as they are."""
    noise: tuple[float, float] | None = None
    """The variance and disjoint signal for AdaScale; None until they are known."""
    height: float | None = None
    """The learning rate at which the warm-up ends here, as a part of its top; None where it does not."""
    look: Look | None = None
    """The look at the losses of the warm-up; on rank 0 only."""
    reason: str = ""
    """The reason, for people; on rank 0 only."""


class Coordinator:
    """A coordinator that asks the policy on rank 0 and makes its answer known to all ranks.

    Args:
        cluster: The ranks.
        policy: The rule, whose state matters on rank 0 only.
    """

    def __init__(self, cluster: Cluster, policy: Policy) -> None:
        self._cluster = cluster
        self.policy = policy
        self._phase: int | None = None
        self._measurements = 0

    def start(self, progress: Progress) -> None:
        """Takes the initial batch as decided, unless the rule wants another before any step."""
        self._phase, self._measurements = self.policy.first_phase(progress), progress.measurements

    def decide(
        self, progress: Progress, *, pace: int = 1, holds: bool = False, look: Callable[[], Look] | None = None
    ) -> Decision | None:
        """Returns the decision that holds from here on; None when there is nothing to say at this point.

        Args:
            progress: The progress of training.
            pace: The steps from one measurement to the next that rank 0 can afford.
            holds: True while the batch has to stay: the rule is asked when that is over.
            look: The look at the losses of the warm-up that is due; None where none is.

        Raises:
            RuntimeError: This rank stands at another sample than rank 0.
        """
        phase = self._phase if holds else self.policy.phase(progress)
        if look is None and (phase, progress.measurements) == (self._phase, self._measurements):
            return None
        due = phase != self._phase
        self._phase, self._measurements = phase, progress.measurements
        numbers, reason, seen = [0.0] * (6 if look is None else 7), HELD if holds else "", None
        if self._cluster.leads:
            batch, factor, noise = progress.global_batch, progress.learning_rate_factor, None
            if due:
                proposal = self.policy.propose(progress)
                batch, factor, noise = proposal.global_batch, proposal.learning_rate_factor, proposal.noise
                reason = proposal.reason
            bounded = _bounded(batch, progress)
            estimate = progress.estimate
            if noise is None:
                noise = (estimate.variance, estimate.disjoint_signal) if estimate is not None else UNKNOWN
            numbers = [float(bounded), factor, float(progress.samples_seen), float(pace), *noise]
            if look is not None:
                seen = look()
                reason = seen.reason
                numbers.append(seen.height if seen.height is not None else math.nan)
        batch_now, factor, cursor, pace_now, variance, signal, *height = self._cluster.announce(numbers)
        if int(cursor) != progress.samples_seen:
            raise RuntimeError(
                f"rank {self._cluster.rank} is at sample {progress.samples_seen}, rank 0 at {int(cursor)}"
            )
        return Decision(
            global_batch=int(batch_now),
            learning_rate_factor=factor,
            samples_seen=int(cursor),
            pace=int(pace_now),
            noise=(variance, signal) if math.isfinite(variance) else None,
            height=height[0] if height and math.isfinite(height[0]) else None,
            look=seen,
            reason=reason,
        )

    def extend(self, measurement: Measurement | None, progress: Progress, samples: int) -> int:
        """Returns the batch to which the rule wants the batch in hand lengthened; 0 where that is good as it is.

        Args:
            measurement: The measurement of the batch in hand; None when it was too small to be measured.
            progress: The progress of training.
            samples: The samples of the batch in hand.
        """
        wanted = 0
        if self._cluster.leads:
            least = 2 * progress.n_ranks  # a batch too small to be measured
            more = self.policy.extension(measurement, progress) if measurement is not None else least
            wanted = _bounded(samples + more, progress) if more > 0 else 0
        return int(self._cluster.announce([float(wanted)])[0])

    def lengthened(self, progress: Progress, global_batch: int) -> Decision:
        """Returns the decision that follows from a batch that was lengthened, which every rank knows already."""
        return Decision(
            global_batch=_bounded(global_batch, progress),
            learning_rate_factor=progress.learning_rate_factor,
            samples_seen=progress.samples_seen,
            reason="the test failed: the batch in hand was lengthened",
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns the phase, and what the rule remembers."""
        rule = type(self.policy).__name__
        return {
            "phase": self._phase,
            "measurements": self._measurements,
            "rule": rule,
            "policy": self.policy.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what ``state_dict`` returned.

        Raises:
            InputError: It is the state of another rule.
        """
        own = type(self.policy).__name__
        was = state.get("rule", own)  # states of before it was written down
        require(was == own, "policy", own, f"{was}, whose state this is", f"policy={was}()")
        self._phase, self._measurements = state["phase"], state["measurements"]
        self.policy.load_state_dict(state["policy"])


def _bounded(global_batch: int, progress: Progress) -> int:
    return max(1, min(global_batch, progress.max_global_batch))
