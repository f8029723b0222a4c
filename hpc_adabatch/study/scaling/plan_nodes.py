"""How many nodes, and which batch on them: before any has been asked for.

a pass of m samples         its measured time, between measurements by straight lines
a step of a global batch    passes of the fullest rank + the sum of the gradients, of which computing hides nothing
the sum                     closed forms by links (network.py)
samples needed              by the noise scale (stretches.py)

adabatch plan RECIPE --nodes 1,2,4,...,4096  ->  a line for each node count and way to choose the batch
                                                 the soonest, the cheapest in node-hours
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...batches.micro_batch import passes_and_micro_batch
from ...errors import require
from .network import Network
from .stretches import Stretch, finite
from .target import BatchRange, Cost, cheapest, costs, doublings, soonest


class PassTimes:
    """The seconds of a forward and backward pass by its samples.

    Args:
        seconds: Measured seconds by micro-batch; one is enough, and is taken to be proportional below and above.
        max_micro_batch: Samples that fit into the device's memory; None: the largest measured.
    """

    def __init__(self, seconds: Mapping[int, float], max_micro_batch: int | None = None) -> None:
        require(bool(seconds), "pass times", "none", "a micro-batch and its seconds, at least", "adabatch probe RECIPE")
        good = all(size > 0 and value > 0 for size, value in seconds.items())
        require(good, "pass times", dict(seconds), "more than 0 samples, more than 0 seconds", "adabatch probe RECIPE")
        points = sorted(seconds.items())
        self.sizes, self.seconds = (np.array(each, dtype=np.float64) for each in zip(*points, strict=True))
        self.max_micro_batch = int(self.sizes[-1]) if max_micro_batch is None else max_micro_batch
        require(self.max_micro_batch >= 1, "max_micro_batch", self.max_micro_batch, "1 or more", "--max_micro_batch 64")

    def pass_s(self, micro_batch: int) -> float:
        """Returns the seconds of a pass: between measured sizes and beyond them by straight lines."""
        sizes, seconds = self.sizes, self.seconds
        if sizes[0] <= micro_batch <= sizes[-1]:
            return float(np.interp(micro_batch, sizes, seconds))
        end, inner = (0, 1) if micro_batch < sizes[0] else (-1, -2)
        proportional = seconds[end] * micro_batch / sizes[end]
        if len(sizes) == 1:
            return float(proportional)
        slope = max(0.0, (seconds[end] - seconds[inner]) / (sizes[end] - sizes[inner]))
        line = seconds[end] + slope * (micro_batch - sizes[end])
        if micro_batch < sizes[0]:  # a smaller pass is no quicker a sample
            return float(min(max(line, proportional), seconds[0]))
        return float(line)

    def computing_s(self, global_batch: int, ranks: int) -> float:
        """Returns the seconds of all passes of the rank with the most samples."""
        passes, micro_batch = passes_and_micro_batch(global_batch, ranks, self.max_micro_batch)
        return passes * self.pass_s(micro_batch)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A kind of node and network, on which a step takes so long."""

    passes: PassTimes
    """The times of a forward and backward pass."""
    network: Network
    """The links."""
    gradient_bytes: float
    """The bytes of the gradient."""

    def __post_init__(self) -> None:
        require(self.gradient_bytes >= 0, "gradient_bytes", self.gradient_bytes, "0 or more", "1e8")

    def step_s(self, nodes: int, global_batch: int) -> float:
        """Returns the seconds of a step."""
        ranks = nodes * self.network.ranks_per_node
        return self.passes.computing_s(global_batch, ranks) + self.network.allreduce_s(nodes, self.gradient_bytes)

    def best_rate(self, most: int) -> float:
        """Returns the samples a second of one node, at the batch where it does most."""
        batches = doublings(self.network.ranks_per_node, max(most, self.network.ranks_per_node))
        return max(batch / self.step_s(1, batch) for batch in batches)


@dataclass(frozen=True, kw_only=True)
class NodesPlan:
    """All ways to the target, with the best of them."""

    rows: tuple[Cost, ...]
    """The costs by node count; strong, weak, best, adaptive and goodput of each, where they exist."""
    soonest: Cost
    """The way of the least time."""
    cheapest: Cost
    """The way of the fewest node-hours."""
    left_out: tuple[int, ...]
    """The node counts with more ranks than the largest batch has samples."""
    noise_known: bool
    """False where no noise scale is known, so that no batch counts as too large."""


def plan_nodes(
    *,
    nodes: Sequence[int],
    machine: Machine,
    way: Sequence[Stretch],
    start_batch: int,
    max_global_batch: int,
    fraction: float = 1.0,
) -> NodesPlan:
    """Returns every way to the target, the soonest, and the cheapest.

    Args:
        nodes: Counts to compare.
        machine: The nodes and their network.
        way: Samples needed and noise scale, from ``stretches.constant`` or ``stretches.from_run``.
        start_batch: Global batch of strong scaling, and of weak scaling on the fewest nodes.
        max_global_batch: Largest global batch allowed, in samples.
        fraction: The adaptive batch over the noise scale, as policy ``noise_scale`` has it.

    Raises:
        InputError: There is no usable node count, or a batch is out of range.
    """
    ranks_per_node = machine.network.ranks_per_node
    require(bool(nodes) and min(nodes) >= 1, "nodes", list(nodes), "1 or more, with commas", "--nodes 1,2,4,8")
    require(start_batch >= 1, "global_batch", start_batch, "1 or more", "--global_batch 256")
    within = max_global_batch >= max(start_batch, min(nodes) * ranks_per_node)
    least = max(start_batch, min(nodes) * ranks_per_node)
    require(within, "max_global_batch", max_global_batch, f"{least} or more", f"--max_global_batch {least}")
    allowed = BatchRange(
        start_batch=start_batch, ranks_per_node=ranks_per_node, most=max_global_batch, fraction=fraction
    )
    rows = costs(nodes, way, machine.step_s, allowed, machine.best_rate(max_global_batch))
    return NodesPlan(
        rows=tuple(rows),
        soonest=soonest(rows),
        cheapest=cheapest(rows),
        left_out=tuple(sorted({n for n in nodes if n * ranks_per_node > max_global_batch})),
        noise_known=finite(way),
    )
