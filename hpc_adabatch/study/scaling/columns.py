"""The columns that a step's seconds are a sum of, and the times of jobs that they are fitted to.

    step = computing + communication        measured apart: step times alone cannot tell serial from bandwidth

    computing       samples           local batch b                  falls as 1/N where the global batch stays
                    serial            1                              what every step costs, whatever its batch
    communication   within the node   1, with several ranks on one
                    start             1, from two nodes on           agreeing, queueing
                    ring latency      2 (N-1)                        hops of a ring over N nodes
                    ring bytes        2 (N-1)/N M                    bytes through each node's adapter
                    tree              2 log2 N                       hops of a tree; also about what waiting for the
                                                                     latest of N grows with
    waiting                           log2 P                         for the latest of P ranks
    hidden                            -b, from two ranks on          communication that computing hides

N nodes rather than P ranks, because with R ranks on each, (P-1) and (P-1)/P are sums of the columns above.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

COMPUTING = ("samples", "serial")
COMMUNICATION = ("within the node", "start", "ring latency", "ring bytes", "tree")


HIDES = ("hidden", "hidden serial")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The ranks of a step and their share of the batch."""

    nodes: int
    """The number of nodes."""
    ranks: int
    """The number of ranks over all nodes."""
    local_batch: float
    """Samples of a step on each rank."""


@dataclass(frozen=True, kw_only=True)
class JobTimes:
    """The medians of one job's times, in seconds of a step."""

    layout: Layout
    """The ranks of the job."""
    step_s: float
    """A whole step."""
    communication_s: float | None = None
    """Communication that computing does not hide, with waiting for the slowest rank; None where it was not measured."""
    allreduce_s: float | None = None
    """Summing the gradient with nothing beside; None where it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A time that jobs measured, and the columns that make it up."""

    name: str
    """The part's name."""
    columns: tuple[str, ...]
    """The names of the columns."""
    measured: Callable[[JobTimes], float | None]
    """A function that returns the part's seconds of a job; None where they were not measured."""
    largest_only: bool = False
    """True for a part that is fitted at the largest node count only."""


STEP = Part(name="step", columns=(*COMPUTING, *COMMUNICATION), measured=lambda job: job.step_s)
COMPUTING_PART = Part(
    name="computing", columns=COMPUTING, measured=lambda job: job.step_s - (job.communication_s or 0.0)
)
APART = Part(name="communication", columns=COMMUNICATION, measured=lambda job: job.communication_s)
ALONE = Part(name="allreduce", columns=COMMUNICATION, measured=lambda job: job.allreduce_s)
HIDDEN = replace(APART, columns=(*COMMUNICATION, "waiting", *HIDES))
FULL = replace(APART, columns=(*COMMUNICATION, *HIDES), largest_only=True)


def column(name: str, layout: Layout, gradient_bytes: float) -> float:
    """Returns the value of a column at a layout: its seconds are this times its coefficient."""
    n = layout.nodes
    return {
        "samples": layout.local_batch,
        "serial": 1.0,
        "within the node": float(layout.ranks > n),
        "start": float(n > 1),
        "ring latency": 2.0 * (n - 1),
        "ring bytes": 2 * (n - 1) / n * gradient_bytes,
        "tree": 2 * math.log2(n),
        "waiting": math.log2(layout.ranks),
        "hidden": -layout.local_batch if layout.ranks > 1 else 0.0,
        "hidden serial": -float(layout.ranks > 1),
    }[name]
