"""Studies of a machine whose every column is known: the oracle of the scaling model.

    computing      = samples * local batch + serial
    sum alone      = start + latency (N-1) + bytes (N-1)/N + tree log2 N         nothing on one node
    communication  = the larger of  share * sum alone  and  sum alone - hidden * computing
    a job          times all of it by one lognormal factor, and each part by another: jobs differ, steps agree

The model that is tried on them is hpc_adabatch/study/scaling/model.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_adabatch.study.scaling.model import JobTimes, Layout


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Seconds by column; none is negative."""

    samples: float
    """Of one sample on one rank."""
    serial: float
    start: float
    latency: float
    bytes: float
    """Of the whole gradient through a node's adapter."""
    tree: float
    share: float = 1.0
    """Of the sum alone that is never hidden."""
    hidden: float = 0.0
    """Of computing, behind which the sum hides."""
    spread: float = 0.02
    """Of each factor between jobs: standard deviation of its logarithm."""

    def job(self, layout: Layout, draw: np.random.Generator) -> JobTimes:
        """One job's medians."""
        n = layout.nodes
        whole, one, two, three = draw.lognormal(0.0, self.spread, 4)
        computing = whole * one * (self.samples * layout.local_batch + self.serial)
        alone = 0.0
        if n > 1:
            alone = self.start + self.latency * (n - 1) + self.bytes * (n - 1) / n + self.tree * math.log2(n)
        communication = whole * two * max(self.share * alone, alone - self.hidden * computing)
        return JobTimes(
            layout=layout,
            step_s=computing + communication,
            communication_s=communication,
            allreduce_s=three * alone if n > 1 else None,
        )

    def study(
        self, mode: str, nodes: Sequence[int], repeats: int, draw: np.random.Generator, *, batch: int = 1024
    ) -> list[JobTimes]:
        """Jobs of one rank a node."""
        return [self.job(layout_of(mode, n, batch), draw) for n in nodes for _ in range(repeats)]


def layout_of(mode: str, nodes: int, batch: int = 1024) -> Layout:
    """One rank a node; ``batch`` is the global one in strong scaling, the local one in weak."""
    return Layout(nodes=nodes, ranks=nodes, local_batch=batch / nodes if mode == "strong" else float(batch))


def any_machine(draw: np.random.Generator, *, hides: bool = False) -> Machine:
    """Some mixture: computing of 30 to 100 ms on one node, and up to as much of communication, in any columns."""
    start, latency, bytes_, tree = draw.dirichlet([0.5] * 4) * draw.uniform(0.005, 0.1)
    return Machine(
        samples=draw.uniform(0.03, 0.1) / 1024,
        serial=draw.uniform(0, 0.02),
        start=start,
        latency=latency,
        bytes=bytes_,
        tree=tree,
        share=draw.uniform(0.05, 0.5) if hides else 1.0,
        hidden=draw.uniform(0, 0.6) if hides else 0.0,
    )
