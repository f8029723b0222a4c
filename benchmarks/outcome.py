"""Reads the numbers of a run from its result.json and journal.jsonl."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

Record = dict[str, Any]
CLASSES = 10  # of digits and of CIFAR-10
SMALLER_IS_BETTER = ("perplexity", "gap")


@dataclass(frozen=True, kw_only=True)
class Point:
    """The state of a run at an evaluation."""

    epoch: float
    updates: int
    samples: int
    wall_s: float
    value: float
    """The value of the metric; nan where it was not finite."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The numbers of a run."""

    accuracy: float
    """The metric of the test set after the last epoch."""
    best: float
    """The best value of the metric after any epoch."""
    updates: int
    """Number of optimizer updates."""
    final_batch: int
    """The last global batch, in samples."""
    wall_s: float
    """Seconds from start to end, with evaluations and checkpoints."""
    growths: list[float]
    """The factor of each change of the batch."""
    diverged: bool
    """True when a test loss was not finite, or the last one above the loss of guessing."""
    batches: list[tuple[float, int]]
    """(epoch, global batch) at the start, at every change and at the end."""
    curve: list[Point]
    """The points of the run, one for each evaluation."""
    metric: str
    """The name of the metric; ``accuracy`` and ``best`` hold its values."""
    larger_is_better: bool
    """True when larger values of the metric are better."""


def outcome(result: Record, records: Sequence[Record], *, classes: int = CLASSES) -> Outcome:
    """Returns the numbers of a complete run.

    Args:
        result: content of its result.json.
        records: lines of its journal.
        classes: number of classes; the loss of guessing is its logarithm.
    """
    evaluations = [record for record in records if record["kind"] == "evaluation"]
    losses = [record["loss"] for record in evaluations]
    batches = [(float(epoch), int(batch)) for epoch, batch in result["batches"]]
    name, per_epoch = result["metric"]["name"], records[0]["samples_per_epoch"]
    larger_is_better = name not in SMALLER_IS_BETTER
    curve = [
        Point(
            epoch=record["cursor"] / per_epoch,
            updates=record["step"],
            samples=record["cursor"],
            wall_s=record["time_s"],
            value=math.nan if record["metric"] is None else record["metric"],
        )
        for record in evaluations
    ]
    values = [point.value for point in curve if math.isfinite(point.value)]
    return Outcome(
        accuracy=math.nan if result["metric"]["value"] is None else result["metric"]["value"],
        best=(max if larger_is_better else min)(values, default=math.nan),
        updates=result["steps"],
        final_batch=result["final_global_batch"],
        wall_s=result["wall_s"],
        growths=[after / before for (_, before), (_, after) in pairwise(batches)],
        diverged=None in losses or losses[-1] > math.log(classes),
        batches=[*batches, (float(result["epochs"]), batches[-1][1])],
        curve=curve,
        metric=name,
        larger_is_better=larger_is_better,
    )


def reached(run: Outcome, target: float) -> Point | None:
    """Returns the point where the metric reached ``target``, by straight lines between evaluations, or None."""
    sign = 1 if run.larger_is_better else -1
    for before, after in pairwise([replace(run.curve[0], epoch=0.0, updates=0, samples=0, wall_s=0.0), *run.curve]):
        if sign * (after.value - target) >= 0:
            rise = after.value - before.value
            part = 1.0 if sign * rise <= 0 else min(1.0, max(0.0, (target - before.value) / rise))
            return Point(
                epoch=before.epoch + part * (after.epoch - before.epoch),
                updates=round(before.updates + part * (after.updates - before.updates)),
                samples=round(before.samples + part * (after.samples - before.samples)),
                wall_s=before.wall_s + part * (after.wall_s - before.wall_s),
                value=target,
            )
    return None


def turns(growths: Sequence[float]) -> int:
    """Counts how often the batch turned: grew after it had shrunk, or shrank after it had grown."""
    return sum((a > 1) != (b > 1) for a, b in pairwise(growths))


def spread(values: Sequence[float], digits: int) -> str:
    """Returns mean ± standard deviation as a text; a single value has no deviation."""
    text = f"{statistics.mean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def to_target(found: Sequence[Outcome], target: float) -> dict[str, str]:
    """Returns what the runs of one rule needed to reach ``target``, as columns of the table."""
    points = [point for run in found if (point := reached(run, target)) is not None]
    if len(points) < len(found):
        return {"s to target": f"reached by {len(points)} of {len(found)}"}
    return {
        "s to target": spread([point.wall_s for point in points], 1),
        "updates to target": f"{statistics.mean(point.updates for point in points):.0f}",
        "samples to target": f"{statistics.mean(point.samples for point in points):.0f}",
    }


def summary(found: Sequence[Outcome], fixed_updates: float | None) -> dict[str, str]:
    """Returns the numbers of one rule as columns of the table.

    Args:
        found: the runs, one for each seed, at least one.
        fixed_updates: updates of the small fixed batch, or None while not known.
    """
    updates = statistics.mean(one.updates for one in found)
    growths = [growth for one in found for growth in one.growths]
    return {
        "accuracy": spread([one.accuracy for one in found], 4),
        "best": f"{statistics.mean(one.best for one in found):.4f}",
        "updates": f"{updates:.0f}",
        "times fewer": f"{fixed_updates / updates:.2f}" if fixed_updates else "",
        "final batch": f"{statistics.mean(one.final_batch for one in found):.0f}",
        "wall time, s": spread([one.wall_s for one in found], 1),
        "largest growth": f"x{max(growths):.2f}" if growths else "none",
        "turns": f"{statistics.mean(turns(one.growths) for one in found):.1f}",
        "diverged": f"{sum(one.diverged for one in found)} of {len(found)}",
    }
