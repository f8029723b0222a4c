"""Rank 0 decides, every rank learns, at the same cursor.

    every rank   phase(progress) changed?  -- no -->  go on
    rank 0       propose(progress) -> bounds -> journal
    every rank   <- broadcast of three numbers; the decision holds from this cursor on

A broadcast costs one Horovod cycle (about 1 ms) and happens only where the rule's phase changes.

Not here: the rules (policies/), what the learning rate makes of it (learning_rate/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .cluster import Cluster
from .policies import Policy, Progress


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What every rank does from a cursor on."""

    global_batch: int
    """Samples per optimizer step, over all ranks."""
    learning_rate_factor: float
    """Multiplies the scheduled learning rate."""
    samples_seen: int
    """The cursor: samples trained on when it takes effect."""
    reason: str = ""
    """For people; on rank 0 only."""


class Coordinator:
    """Asks the policy on rank 0 and makes its answer known.

    Args:
        cluster: the ranks.
        policy: the rule; its state matters on rank 0 only.
    """

    def __init__(self, cluster: Cluster, policy: Policy) -> None:
        self._cluster = cluster
        self.policy = policy
        self._phase: int | None = None

    def start(self, progress: Progress) -> None:
        """Takes the phase of this progress as decided."""
        self._phase = self.policy.phase(progress)

    def decide(self, progress: Progress) -> Decision | None:
        """The decision that holds from here on; None when the rule has nothing to say at this point."""
        phase = self.policy.phase(progress)
        if phase == self._phase:
            return None
        self._phase = phase
        message = torch.zeros(3, dtype=torch.float64)  # integers up to 2^53 are exact
        reason = ""
        if self._cluster.leads:
            proposal = self.policy.propose(progress)
            reason = proposal.reason
            bounded = max(1, min(proposal.global_batch, progress.max_global_batch))
            message[:] = torch.tensor(
                [bounded, proposal.learning_rate_factor, progress.samples_seen], dtype=torch.float64
            )
        batch, factor, cursor = self._cluster.broadcast_(message, "decision").tolist()
        if int(cursor) != progress.samples_seen:
            raise RuntimeError(
                f"rank {self._cluster.rank} is at sample {progress.samples_seen}, rank 0 at {int(cursor)}"
            )
        return Decision(global_batch=int(batch), learning_rate_factor=factor, samples_seen=int(cursor), reason=reason)

    def state_dict(self) -> dict[str, Any]:
        return {"phase": self._phase, "policy": self.policy.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._phase = state["phase"]
        self.policy.load_state_dict(state["policy"])
