"""Draws scaling studies of made-up machines whose costs are known, to test the scaling model.

    computing      = samples * local batch + serial
    sum alone      = start + latency (N-1) + bytes (N-1)/N + tree log2 N         nothing on one node
    communication  = the larger of  share * sum alone  and  sum alone - hidden * computing
    a job          multiplies all by one lognormal factor and each part by another, so that jobs differ

The model is hpc_adabatch/study/scaling/model.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_adabatch.study.scaling.columns import JobTimes, Layout


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A made-up machine: the seconds of each part of a step, none negative."""

    samples: float
    """Seconds that one sample computes on one rank."""
    serial: float
    """Seconds that each step computes, whatever its batch."""
    start: float
    """Seconds that each sum takes to start."""
    latency: float
    """Seconds that each further node adds to a sum."""
    bytes: float
    """Seconds of the whole gradient through the adapter of a node."""
    tree: float
    """Seconds that each doubling of the nodes adds to a sum."""
    share: float = 1.0
    """The part of the sum that is never hidden."""
    hidden: float = 0.0
    """The part of computing that can hide the sum."""
    spread: float = 0.02
    """The standard deviation of the logarithm of each factor between jobs."""

    def job(self, layout: Layout, draw: np.random.Generator) -> JobTimes:
        """Draws the median times of a job."""
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
        """Draws the jobs of a study with one rank on each node."""
        return [self.job(layout_of(mode, n, batch), draw) for n in nodes for _ in range(repeats)]


def layout_of(mode: str, nodes: int, batch: int = 1024) -> Layout:
    """Returns the layout of one rank per node; ``batch`` is the global batch in strong scaling, else the local one."""
    return Layout(nodes=nodes, ranks=nodes, local_batch=batch / nodes if mode == "strong" else float(batch))


def any_machine(
    draw: np.random.Generator, *, hides: bool = False, mixture: float = 0.5, spread: float = 0.02
) -> Machine:
    """Draws a machine that computes 30 to 100 ms on one node, and communicates up to as long, by any mixture.

    Args:
        draw: The source of chance.
        hides: True for a machine whose computing hides a part of communication.
        mixture: The concentration of the Dirichlet distribution of communication's parts; 0 for one part alone.
        spread: The standard deviation of the logarithm of each factor between jobs.
    """
    parts = draw.dirichlet([mixture] * 4) if mixture > 0 else np.eye(4)[draw.integers(4)]
    start, latency, bytes_, tree = parts * draw.uniform(0.005, 0.1)
    return Machine(
        samples=draw.uniform(0.03, 0.1) / 1024,
        serial=draw.uniform(0, 0.02),
        start=start,
        latency=latency,
        bytes=bytes_,
        tree=tree,
        share=draw.uniform(0.05, 0.5) if hides else 1.0,
        hidden=draw.uniform(0, 0.6) if hides else 0.0,
        spread=spread,
    )
