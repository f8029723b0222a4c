"""What a run came to, as numbers: from its result.json and journal.jsonl alone.

Not here: running (cells.py), words around the numbers (table.py).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Record = dict[str, Any]
CLASSES = 10  # of digits and of CIFAR-10


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run."""

    accuracy: float
    """Of the test set after the last epoch."""
    best: float
    """The highest after any epoch."""
    updates: int
    """Optimizer steps."""
    final_batch: int
    """Samples."""
    wall_s: float
    """Evaluations and checkpoints included."""
    growths: list[float]
    """Factors of the batch, one a change."""
    diverged: bool
    """A test loss was not finite, or at the end above that of guessing."""
    batches: list[tuple[float, int]]
    """(epoch, global batch) at the start, at every change and at the end."""


def outcome(result: Record, records: Sequence[Record]) -> Outcome:
    """From a complete run's result.json and the lines of its journal."""
    evaluations = [record for record in records if record["kind"] == "evaluation"]
    losses = [record["loss"] for record in evaluations]
    batches = [(float(epoch), int(batch)) for epoch, batch in result["batches"]]
    return Outcome(
        accuracy=result["metric"]["value"],
        best=max(record["metric"] for record in evaluations),
        updates=result["steps"],
        final_batch=result["final_global_batch"],
        wall_s=result["wall_s"],
        growths=[after / before for (_, before), (_, after) in pairwise(batches)],
        diverged=None in losses or losses[-1] > math.log(CLASSES),
        batches=[*batches, (float(result["epochs"]), batches[-1][1])],
    )


def turns(growths: Sequence[float]) -> int:
    """How often the batch went the other way than at its last change."""
    return sum((a > 1) != (b > 1) for a, b in pairwise(growths))


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation; the value itself where there is one."""
    text = f"{statistics.mean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def summary(found: Sequence[Outcome], fixed_updates: float | None) -> dict[str, str]:
    """The runs of one rule, one a seed, as columns of the table.

    Args:
        found: at least one.
        fixed_updates: of the small fixed batch, where that is known.
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
