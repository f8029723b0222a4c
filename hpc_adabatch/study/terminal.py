"""What a person sees of a study's cells in a terminal: the plan, where they stand, what they came to.

Not here: the tables of the report (tables.py).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from .cells import Cell
from .results import STATES, CellResult
from .spec import Study
from .status import States

_WIDTH = 150  # of tables in files
_COLOURS = {"OK": "green", "RUNNING": "cyan", "PENDING": "yellow", "PLANNED": "default"}


def show(part: RenderableType) -> None:
    """Prints a table or a text."""
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, soft_wrap=True, markup=False, file=sys.stdout)
    if not terminal:
        console.width = _WIDTH
    console.print(part)
    console.file.flush()


def _table(headings: Iterable[str], left: Sequence[str]) -> Table:
    table = Table()
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right", no_wrap=heading == "cell")
    return table


def plan_table(study: Study) -> Table:
    """One line for all repeats of a cell."""
    left = ("mode", "variant", "runs")
    table = _table(("mode", "variant", "nodes", "ranks", "global batch", "per rank", "jobs", "runs"), left)
    for cell in study.cells:
        if cell.repeat == 1:
            per_rank = f"{cell.global_batch / cell.ranks:g}"
            numbers = (cell.nodes, cell.ranks, cell.global_batch, per_rank, study.repeats)
            table.add_row(cell.mode, cell.variant, *map(str, numbers), _runs(cell))
    return table


def _runs(cell: Cell) -> str:
    return " ".join((cell.verb, *(word for word in cell.arguments if not word.startswith("--seed="))))


def status_table(states: States) -> Table:
    """One line a cell."""
    table = _table(("cell", "state", "jobs", "reason"), ("cell", "state", "jobs", "reason"))
    for status in states.cells:
        colour = _COLOURS.get(status.state, "red")
        table.add_row(status.cell.name, Text(status.state, style=colour), " ".join(status.job_ids), status.reason)
    return table


def totals(states: States) -> str:
    """How many cells are in which state."""
    counts = Counter(status.state for status in states.cells)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def status_json(states: States) -> str:
    """The same for programs."""
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
    """The columns that most studies have."""
    headings = ("cell", "state", "node-hours", "batch", "step ms", "samples/s", "metric", "to target s", "reason")
    table = _table(headings, ("cell", "state", "reason"))
    for one in results:
        step = "" if one.step_s is None else f"{one.step_s * 1e3:.4g}"
        value = "" if one.value is None else f"{one.metric} {one.value:.4f}"
        numbers = (_number(one.node_hours), str(one.global_batch or ""), step, _number(one.samples_per_s), value)
        table.add_row(one.cell, one.state, *numbers, _number(one.reached_wall_s), one.reason)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def hours_used(results: Sequence[CellResult]) -> str:
    """Node-hours over all cells of which they are known."""
    known = [one.node_hours for one in results if one.node_hours is not None]
    unknown = sum(one.node_hours is None and bool(one.job_ids) for one in results)
    rest = f", not known of {unknown} cells" if unknown else ""
    return f"{sum(known):.3g} node-hours used{rest}"
