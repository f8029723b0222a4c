"""Time to a target: samples needed by the batch, over samples a second by nodes and batch.

McCandlish, Kaplan & Amodei 2018, https://arxiv.org/abs/1812.06162, equations 2.7, 2.11 and appendix D.

    paper               here                     meaning                                                   unit
    E_min               Stretch.least_samples    samples of a stretch of training, with tiny batches       samples
    B_noise             Stretch.noise_scale      tr Var / |grad|^2 there: it grows as training goes on     samples
    B                   batch                    global batch
    E = E_min (1 + B/B_noise)                    samples needed: at B = B_noise twice the least
    S = E/B = S_min (1 + B_noise/B)              steps, with S_min = E_min / B_noise
    r(N, B)             batch / step_s(N, B)     samples a second of N nodes                               1/s

    T = sum over stretches of  least_samples (1 + B/B_noise) / r(N, B)

    learning's part     least samples / samples needed           1 at tiny batches
    machine's part      r(N, B) / (N r_1)                        1 where N nodes do N times what one does best, r_1
    their product       T_ideal / T, T_ideal = least samples / (N r_1)

    strong      the batch stays                         weak        it grows with the nodes
    best        the fixed batch that is soonest         adaptive    B = B_noise, as policy noise_scale has it
    goodput     on each stretch the batch that is soonest there, as policy goodput has it

The noise scale is the paper's balance of steps against samples. Where a step costs a fixed time besides its samples,
the soonest batch lies elsewhere: at sqrt(a B_noise / b) for a step of a + b B seconds. Hence both schedules.

What a sample is worth is a model: it takes the learning rate to suit the batch at every moment, and says nothing of how
well the weights that were found generalise. How long a step takes follows the device's measured times of a pass by
its micro-batch where ``step_s`` does (plan_nodes.py), so a batch too small to fill the device costs what it costs.

Not here: seconds of a step (plan_nodes.py, model.py), following the noise scale while training (policies/).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ...errors import require

StepSeconds = Callable[[int, int], float]
"""Seconds of a step by nodes and global batch."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A part of the way to the target."""

    least_samples: float
    """That it takes with tiny batches."""
    noise_scale: float
    """In samples; infinite where the gradient is all noise, so that no batch is too large."""

    def __post_init__(self) -> None:
        require(self.least_samples > 0, "samples needed", self.least_samples, "more than 0", "--epochs 10")
        require(self.noise_scale > 0, "noise_scale", self.noise_scale, "more than 0 samples", "--noise_scale 2000")

    def samples(self, batch: float) -> float:
        """E = E_min (1 + B/B_noise)."""
        return self.least_samples * (1 + batch / self.noise_scale)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What it takes to reach the target in one way."""

    mode: str
    """strong, weak, best, adaptive or goodput."""
    nodes: int
    batches: tuple[int, ...]
    """Global batch of each stretch."""
    samples: float
    steps: float
    seconds: float
    least_samples: float
    ideal_s: float
    """With tiny batches' learning, and each node as quick as one alone at its best."""

    @property
    def learning(self) -> float:
        """What a sample is worth, against one of a tiny batch."""
        return self.least_samples / self.samples

    @property
    def machine(self) -> float:
        """What a node does, against one alone at its best."""
        return self.efficiency / self.learning

    @property
    def efficiency(self) -> float:
        """Both together."""
        return self.ideal_s / self.seconds

    @property
    def node_hours(self) -> float:
        return self.nodes * self.seconds / 3600


def constant(least_samples: float, noise_scale: float) -> tuple[Stretch, ...]:
    """The way to the target where the noise scale stays."""
    return (Stretch(least_samples=least_samples, noise_scale=noise_scale),)


def from_run(records: Sequence[tuple[float, float, float]], samples: float, most: int = 64) -> tuple[Stretch, ...]:
    """The way to the target, from a run whose batch changed.

    A noise scale below one sample, as the noise of measuring has it now and then, counts as one.

    Args:
        records: (samples seen, noise scale, global batch) as a run's journal has them with each measurement; each
            holds until the next, the first from the start.
        samples: of the run, until the target; records beyond it are left out.
        most: stretches; neighbours are joined down to that.

    Raises:
        InputError: no records, or not in order.
    """
    used = [record for record in records if record[0] < samples]
    require(bool(used), "noise scale", "none measured", "a run that measured it", "--policy noise_scale")
    begins = [0.0, *(seen for seen, _, _ in used[1:])]
    ends = [*begins[1:], float(samples)]
    ordered = all(begin <= end for begin, end in zip(begins, ends, strict=True))
    require(ordered, "noise scale", begins, "measurements in the order of the run", "one run's journal")
    way = [
        Stretch(least_samples=(end - begin) / (1 + batch / max(noise, 1.0)), noise_scale=max(noise, 1.0))
        for begin, end, (_, noise, batch) in zip(begins, ends, used, strict=True)
        if end > begin
    ]
    size = math.ceil(len(way) / most)
    return tuple(joined(way[begin : begin + size]) for begin in range(0, len(way), size))


def joined(way: Sequence[Stretch]) -> Stretch:
    """One stretch that needs as many samples, whatever the batch: E_min adds up, and so does E_min / B_noise."""
    least = sum(stretch.least_samples for stretch in way)
    steps = sum(stretch.least_samples / stretch.noise_scale for stretch in way)
    return Stretch(least_samples=least, noise_scale=least / steps if steps > 0 else math.inf)


def following(way: Sequence[Stretch], least: int, most: int) -> tuple[int, ...]:
    """Batches by the rule B = B_noise, within bounds, stretch by stretch."""
    wanted = (min(max(stretch.noise_scale, least), most) for stretch in way)
    return tuple(round(batch) for batch in wanted)


def cost(
    mode: str, nodes: int, way: Sequence[Stretch], batches: Sequence[int], step_s: StepSeconds, best_rate: float
) -> Cost:
    """What these batches take on these nodes.

    Args:
        batches: one for each stretch.
        best_rate: samples a second of one node at its best.
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
    """Which batches may be asked of how many nodes."""

    start_batch: int
    """Global batch on the fewest nodes; of strong scaling on all."""
    ranks_per_node: int
    most: int
    """The largest global batch."""


def costs(
    nodes: Iterable[int], way: Sequence[Stretch], step_s: StepSeconds, allowed: BatchRange, best_rate: float
) -> list[Cost]:
    """Every way to the target that each node count has: strong, weak, best, adaptive; goodput where stretches differ.

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
        batches = [spread(batch, ranks, allowed.most) for batch in following(way, ranks, allowed.most)]
        found.append(cost("adaptive", n, way, batches, step_s, best_rate))
        if len(way) > 1:
            seconds = {batch: step_s(n, batch) for batch in sizes}
            batches = [min(sizes, key=lambda b: stretch.samples(b) / b * seconds[b]) for stretch in way]
            found.append(cost("goodput", n, way, batches, step_s, best_rate))
    return found


def doublings(ranks: int, most: int) -> list[int]:
    """ranks, twice as many, four times, ... up to ``most``."""
    return [ranks << power for power in range((most // ranks).bit_length())]


def spread(batch: int, ranks: int, most: int) -> int:
    """The nearest batch that all ranks share alike."""
    return min(max(1, round(batch / ranks)), most // ranks) * ranks


def soonest(ways: Sequence[Cost]) -> Cost:
    """The least time; of those within a percent of it, the fewest node-hours."""
    least = min(one.seconds for one in ways)
    return min((one for one in ways if one.seconds <= 1.01 * least), key=lambda one: one.node_hours)


def cheapest(ways: Sequence[Cost]) -> Cost:
    """The fewest node-hours; of those within a percent of them, the soonest."""
    least = min(one.node_hours for one in ways)
    return min((one for one in ways if one.node_hours <= 1.01 * least), key=lambda one: one.seconds)


def finite(way: Sequence[Stretch]) -> bool:
    """Whether any noise scale is known."""
    return any(math.isfinite(stretch.noise_scale) for stretch in way)
