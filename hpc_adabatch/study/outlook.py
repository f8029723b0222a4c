"""Tables for a terminal of node counts that were not run: a plan before any job, a prediction from a study."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.console import RenderableType

from ..terminal import count, number, table
from .predict import Prediction
from .scaling.plan_nodes import NodesPlan
from .scaling.target import Cost
from .wording import interval

_WAYS = {
    "strong": "the recipe's batch",
    "weak": "a batch grown with the nodes",
    "best": "a fixed batch",
    "adaptive": "a batch that follows the noise scale",
    "goodput": "the batch of the highest goodput",
}


def plan_parts(plan: NodesPlan) -> Iterator[RenderableType]:
    """Yields the table of all node counts and ways to choose the batch, then the soonest and the cheapest in words."""
    headings = ("nodes", "batch", "global batch", "steps", "hours", "node-hours", "machine", "learning", "both", "")
    rows: list[tuple[str, ...]] = []
    for _, ways in groupby(plan.rows, key=lambda row: row.nodes):
        rows += [(), *(_cost_row(plan, row) for row in ways)]
    yield table(headings, rows[1:], left=("batch",), title="time to target", ascii_only=True)
    yield "machine: what a node does against one alone at its best; learning: what a sample is worth against one in a"
    yield "tiny batch; strong: the batch stays; weak: it grows with the nodes; best: the soonest that stays; adaptive:"
    yield "by the noise scale; goodput: the soonest at every moment"
    yield f"soonest: {_in_words(plan.soonest)}"
    yield f"cheapest: {_in_words(plan.cheapest)}"
    if not plan.noise_known:
        yield "the noise scale is not known: no batch is too large here, which no training bears out"
    if plan.left_out:
        yield f"left out, more ranks than samples of the largest batch: nodes {', '.join(map(str, plan.left_out))}"


def _cost_row(plan: NodesPlan, row: Cost) -> tuple[str, ...]:
    marks = [word for word, best in (("soonest", plan.soonest), ("cheapest", plan.cheapest)) if row is best]
    return (
        *(str(row.nodes), row.mode, _batches(row), f"{row.steps:,.0f}"),
        *(number(row.seconds / 3600), number(row.node_hours)),
        *(f"{100 * part:.3g} %" for part in (row.machine, row.learning, row.efficiency)),
        ", ".join(marks),
    )


def _batches(row: Cost) -> str:
    """Returns the one batch, or the least and the greatest of a schedule."""
    low, high = min(row.batches), max(row.batches)
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def _in_words(row: Cost) -> str:
    batch = f"{_WAYS[row.mode]}, {_batches(row)} samples"
    time = f"{number(row.seconds / 3600)} hours, {number(row.node_hours)} node-hours"
    return f"{row.nodes} node{'s' if row.nodes > 1 else ''} with {batch}: {time}"


def prediction_parts(prediction: Prediction) -> Iterator[RenderableType]:
    """Yields a table for each model of the prediction, each with what its data cannot separate."""
    for group in prediction.groups:
        rows = [
            (
                str(row.nodes),
                *map(interval, (row.step_s.times(1000), row.speed_up, row.efficiency.times(100))),
                "was run" if row.run else "",
            )
            for row in group.rows
        ]
        title = f"{group.title}, by {group.jobs} jobs: a new job's step, with 95 % interval"
        yield table(("nodes", "step, ms", "speed-up", "efficiency, %", ""), rows, title=title, ascii_only=True)
        yield from group.statements
    yield from prediction.left_out
