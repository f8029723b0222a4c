"""Time to a target: samples needed by the batch, over samples a second by nodes and batch.

McCandlish, Kaplan & Amodei 2018, https://arxiv.org/abs/1812.06162, for the samples needed (stretches.py).

    r(N, B)             batch / step_s(N, B)     samples a second of N nodes                               1/s

    T = sum over stretches of  least_samples (1 + B/B_noise) / r(N, B)

    learning's part     least samples / samples needed           1 at tiny batches
    machine's part      r(N, B) / (N r_1)                        1 where N nodes do N times what one does best, r_1
    their product       T_ideal / T, T_ideal = least samples / (N r_1)

    strong      the batch stays                         weak        it grows with the nodes
    best        the fixed batch that is soonest         adaptive    B = fraction B_noise, as policy noise_scale has it
    goodput     on each stretch the batch that is soonest there, as policy goodput has it

The noise scale is the paper's balance of steps against samples. Where a step costs a fixed time besides its samples,
the soonest batch lies elsewhere: at sqrt(a B_noise / b) for a step of a + b B seconds. Hence both schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .stretches import Stretch

StepSeconds = Callable[[int, int], float]
"""A function that returns the seconds of a step by nodes and global batch."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of reaching the target in one way."""

    mode: str
    """The way to choose the batch: strong, weak, best, adaptive or goodput."""
    nodes: int
    """The number of nodes."""
    batches: tuple[int, ...]
    """The global batch of each stretch."""
    samples: float
    """Samples until the target."""
    steps: float
    """Steps until the target."""
    seconds: float
    """Seconds until the target."""
    least_samples: float
    """Samples until the target with tiny batches."""
    ideal_s: float
    """Seconds with the learning of tiny batches, and each node as quick as one alone at its best."""

    @property
    def learning(self) -> float:
        """Returns the worth of a sample, against one of a tiny batch."""
        return self.least_samples / self.samples

    @property
    def machine(self) -> float:
        """Returns the samples a second of a node, against one alone at its best."""
        return self.efficiency / self.learning

    @property
    def efficiency(self) -> float:
        """Returns the product of learning and machine."""
        return self.ideal_s / self.seconds

    @property
    def node_hours(self) -> float:
        """Returns the hours of all nodes together."""
        return self.nodes * self.seconds / 3600


def following(way: Sequence[Stretch], least: int, most: int, fraction: float = 1.0) -> tuple[int, ...]:
    """Returns the batches by the rule B = fraction B_noise, within bounds, one for each stretch."""
    wanted = (min(max(fraction * stretch.noise_scale, least), most) for stretch in way)
    return tuple(round(batch) for batch in wanted)


def cost(
    mode: str, nodes: int, way: Sequence[Stretch], batches: Sequence[int], step_s: StepSeconds, best_rate: float
) -> Cost:
    """Returns the cost of these batches on these nodes.

    Args:
        batches: One for each stretch.
        best_rate: Samples a second of one node at its best.
    """
    samples = [stretch.samples(batch) for stretch, batch in zip(way, batches, strict=True)]
    steps = [needed / batch for needed, batch in zip(samples, batches, strict=True)]
    least = sum(stretch.least_samples for stretch in way)
    return Cost(
        mode=mode,
        nodes=nodes,
        batches=tuple(batches),
        samples=sum(samples),
        steps=sum(steps),
        seconds=sum(count * step_s(nodes, batch) for count, batch in zip(steps, batches, strict=True)),
        least_samples=least,
        ideal_s=least / (nodes * best_rate),
    )


@dataclass(frozen=True, kw_only=True)
class BatchRange:
    """The batches that may be asked for."""

    start_batch: int
    """The global batch on the fewest nodes; in strong scaling on all."""
    ranks_per_node: int
    """The number of ranks on each node."""
    most: int
    """The largest global batch."""
    fraction: float = 1.0
    """The adaptive batch over the noise scale."""


def costs(
    nodes: Iterable[int], way: Sequence[Stretch], step_s: StepSeconds, allowed: BatchRange, best_rate: float
) -> list[Cost]:
    """Returns every way to the target of each node count: strong, weak, best, adaptive; goodput where stretches differ.

    Batches that have fewer samples than ranks, or more than ``allowed.most``, are no way.
    """
    found, counts = [], sorted(set(nodes))
    for n in counts:
        ranks = n * allowed.ranks_per_node
        if ranks > allowed.most:
            continue

        def fixed(mode: str, batch: int, n: int = n) -> Cost:
            return cost(mode, n, way, [batch] * len(way), step_s, best_rate)

        modes = {"strong": allowed.start_batch, "weak": allowed.start_batch * n // counts[0]}
        found += [fixed(mode, batch) for mode, batch in modes.items() if ranks <= batch <= allowed.most]
        sizes = doublings(ranks, allowed.most)
        found.append(min((fixed("best", batch) for batch in sizes), key=lambda one: one.seconds))
        batches = [
            spread(batch, ranks, allowed.most) for batch in following(way, ranks, allowed.most, allowed.fraction)
        ]
        found.append(cost("adaptive", n, way, batches, step_s, best_rate))
        if len(way) > 1:
            seconds = {batch: step_s(n, batch) for batch in sizes}
            batches = [min(sizes, key=lambda b: stretch.samples(b) / b * seconds[b]) for stretch in way]
            found.append(cost("goodput", n, way, batches, step_s, best_rate))
    return found


def doublings(ranks: int, most: int) -> list[int]:
    """Returns ranks, twice as many, four times as many, and so on up to ``most``."""
    return [ranks << power for power in range((most // ranks).bit_length())]


def spread(batch: int, ranks: int, most: int) -> int:
    """Returns the nearest batch that all ranks share evenly."""
    return min(max(1, round(batch / ranks)), most // ranks) * ranks


def soonest(ways: Sequence[Cost]) -> Cost:
    """Returns the way of the least time; of those within a percent of it, the one of the fewest node-hours."""
    least = min(one.seconds for one in ways)
    return min((one for one in ways if one.seconds <= 1.01 * least), key=lambda one: one.node_hours)


def cheapest(ways: Sequence[Cost]) -> Cost:
    """Returns the way of the fewest node-hours; of those within a percent of them, the soonest."""
    least = min(one.node_hours for one in ways)
    return min((one for one in ways if one.node_hours <= 1.01 * least), key=lambda one: one.seconds)
