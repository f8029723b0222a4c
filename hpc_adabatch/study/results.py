"""What a study's cells came to: one line a cell, as CSV.

Not here: which cells there are (spec.py), finding their states (status.py), what is computed from them (statistics.py,
model.py, target.py).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from .state import State


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """One cell: where it stands, and its numbers where it is OK (None: not measured in such a cell).

    The four parts of a step add up to it: data + compute + straggler + exposed = step, up to medians.
    """

    cell: str
    mode: str
    """strong, weak or adaptive."""
    nodes: int
    ranks: int
    """Over all nodes."""
    variant: str
    """Label of what --vary and --zip set; empty without."""
    repeat: int
    """From 1."""
    state: State
    reason: str = ""
    """Why it is not OK, in words."""
    job_ids: str = ""
    """Of all attempts, oldest first, with spaces between."""
    attempts: int = 0
    wait_s: float | None = None
    """In the queue, of the last attempt."""
    node_hours: float | None = None
    """Used, over all attempts."""
    global_batch: int | None = None
    """Samples per step; at the start where it grows."""
    step_s: float | None = None
    """Median time of a step, on its slowest rank."""
    step_lower_s: float | None = None
    step_upper_s: float | None = None
    """Quartiles of it."""
    data_s: float | None = None
    """Waiting for samples, mean over ranks."""
    compute_s: float | None = None
    """Forward, backward, optimizer, mean over ranks."""
    straggler_s: float | None = None
    """By which the slowest rank is behind the mean."""
    exposed_s: float | None = None
    """Communication that computing does not hide."""
    allreduce_s: float | None = None
    """The gradient summed over ranks, alone."""
    gradient_bytes: int | None = None
    samples_per_s: float | None = None
    """Over all ranks."""
    wall_s: float | None = None
    """Of a whole run that trained."""
    updates: int | None = None
    samples: int | None = None
    metric: str = ""
    value: float | None = None
    """Of the metric, at the end."""
    final_global_batch: int | None = None
    reached_wall_s: float | None = None
    """Until the target of --until; None where it was not reached."""
    reached_samples: int | None = None
    reached_updates: int | None = None


_TYPES = get_type_hints(CellResult)
_NAMES = [field.name for field in fields(CellResult)]


def to_csv(results: Iterable[CellResult]) -> str:
    """All cells, with a head line; what is None is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _NAMES, lineterminator="\n")
    writer.writeheader()
    for result in results:
        writer.writerow({name: getattr(result, name) for name in _NAMES})
    return text.getvalue()


def from_csv(text: str) -> list[CellResult]:
    """The cells of ``to_csv``.

    Raises:
        KeyError: a column is missing.
        ValueError: a number is none.
    """
    return [_cell(row) for row in csv.DictReader(io.StringIO(text))]


def _cell(row: dict[str, str]) -> CellResult:
    values: dict[str, Any] = {name: _read(name, row[name]) for name in _NAMES}
    return CellResult(**values)


def _read(name: str, text: str) -> str | int | float | None:
    kind = _TYPES[name]
    if kind is str:
        return text
    if kind is State:
        return State(text)
    if text == "" and kind is not int:
        return None
    return int(text) if kind in (int, int | None) else float(text)
