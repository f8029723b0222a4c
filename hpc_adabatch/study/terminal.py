"""Tables of a study's cells for a terminal: the plan, the states, the results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from ..terminal import table
from .cells import Cell
from .results import CellResult
from .spec import Study
from .state import State
from .status import States

_COLOURS = {State.OK: "green", State.RUNNING: "cyan", State.PENDING: "yellow", State.PLANNED: "default"}


def plan_table(study: Study) -> Table:
    """Returns the table of the plan: one line for all repeats of a cell."""
    rows = [
        (
            *(cell.mode, cell.variant, str(cell.nodes), str(cell.ranks), str(cell.global_batch)),
            *(f"{cell.global_batch / cell.ranks:g}", str(study.repeats), _runs(cell)),
        )
        for cell in study.cells
        if cell.repeat == 1
    ]
    headings = ("mode", "variant", "nodes", "ranks", "global batch", "per rank", "jobs", "runs")
    return table(headings, rows, left=("mode", "variant", "runs"))


def batches_text(study: Study) -> str:
    """Returns what the check of the batches found, a line for each mode."""
    found = []
    for mode in study.modes:
        cells = [cell for cell in study.cells if cell.mode == mode]
        batches, ranks = sorted({cell.global_batch for cell in cells}), sorted({cell.ranks for cell in cells})
        batch = str(batches[0]) if len(batches) == 1 else f"{batches[0]}..{batches[-1]}"
        over = str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]}..{ranks[-1]}"
        found.append(f"{mode}: global batch {batch} divides over {over} ranks: ok")
    return "\n".join(found)


def _runs(cell: Cell) -> str:
    return " ".join((cell.verb, *(word for word in cell.arguments if not word.startswith("--seed="))))


def status_table(states: States) -> Table:
    """Returns the table of states: one line for each cell."""
    headings = ("cell", "state", "jobs", "reason")
    rows = [
        (
            *(status.cell.name, Text(status.state, style=_COLOURS.get(status.state, "red"))),
            *(" ".join(status.job_ids), status.reason),
        )
        for status in states.cells
    ]
    return table(headings, rows, left=headings, unbroken=("cell",))


def totals(states: States) -> str:
    """Returns how many cells are in which state, in words."""
    counts = Counter(status.state for status in states.cells)
    return ", ".join(f"{counts[state]} {state}" for state in State if counts[state])


def status_json(states: States) -> str:
    """Returns the states as JSON, for programs."""
    cells = [
        {
            "cell": status.cell.name,
            "mode": status.cell.mode,
            "nodes": status.cell.nodes,
            "variant": status.cell.variant,
            "repeat": status.cell.repeat,
            "state": status.state,
            "reason": status.reason,
            "job_ids": status.job_ids,
            "attempts": len(status.attempts),
            "restarts": status.job.restarts if status.job is not None else 0,
        }
        for status in states.cells
    ]
    counts = Counter(status.state for status in states.cells)
    return json.dumps({"cells": cells, "counts": dict(counts), "squeue": states.silent or "ok"}, indent=1)


def results_table(results: Iterable[CellResult]) -> Table:
    """Returns the table of results, with the columns that most studies have."""
    headings = ("cell", "state", "node-hours", "batch", "step ms", "samples/s", "metric", "to target s", "reason")
    return table(headings, map(_result_row, results), left=("cell", "state", "reason"), unbroken=("cell",))


def _result_row(one: CellResult) -> tuple[str, ...]:
    value = "" if one.value is None else f"{one.metric} {one.value:.4f}"
    step_ms = None if one.step_s is None else 1e3 * one.step_s
    return (
        *(one.cell, one.state, _number(one.node_hours), str(one.global_batch or ""), _number(step_ms)),
        *(_number(one.samples_per_s), value, _number(one.reached_wall_s), one.reason),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def hours_used(results: Sequence[CellResult]) -> str:
    """Returns the node-hours of all cells whose hours are known, in words."""
    known = [one.node_hours for one in results if one.node_hours is not None]
    unknown = sum(one.node_hours is None and bool(one.job_ids) for one in results)
    rest = f", not known of {unknown} cells" if unknown else ""
    return f"{sum(known):.3g} node-hours used{rest}"
