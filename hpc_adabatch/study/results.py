"""The results of a study's cells: one line for each, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from .state import State


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """A cell's state, and its numbers where it is OK; None stands for what such a cell does not measure.

    The four parts of a step add up to it: data + compute + straggler + exposed = step, up to medians.
    """

    cell: str
    """The cell's name."""
    mode: str
    """strong, weak, adaptive or follow."""
    nodes: int
    """The number of nodes; where they follow the batch, those that the run began on."""
    ranks: int
    """The number of ranks over all of these nodes."""
    variant: str
    """A label of the values that --vary set; empty without --vary."""
    repeat: int
    """The number of the repeat, from 1."""
    state: State
    """The state of the cell."""
    reason: str = ""
    """Why the cell is in this state, in words."""
    job_ids: str = ""
    """The numbers of the jobs of all attempts, oldest first, with spaces between."""
    attempts: int = 0
    """The number of jobs that were tried."""
    wait_s: float | None = None
    """Seconds that the last attempt waited in the queue; in mode follow, all jobs of the run together."""
    node_hours: float | None = None
    """Node-hours that all attempts used."""
    energy_j: float | None = None
    """Joules that the nodes of all attempts used, by Slurm's accounting."""
    gpu_percent: float | None = None
    """Percent of the time that a GPU was busy, mean over GPUs, by Slurm; else of the first node, by nvidia-smi."""
    gpu_watts: float | None = None
    """The power of a GPU in watts, mean over those of the first node and over time, by nvidia-smi."""
    global_batch: int | None = None
    """Samples of a step over all ranks; at the start, where the batch grows."""
    step_s: float | None = None
    """The median time of a step, on its slowest rank."""
    step_lower_s: float | None = None
    """The lower quartile of the times of a step."""
    step_upper_s: float | None = None
    """The upper quartile of the times of a step."""
    data_s: float | None = None
    """Seconds of a step that a rank waits for samples, mean over ranks."""
    compute_s: float | None = None
    """Seconds of a step in forward, backward and optimizer, mean over ranks."""
    straggler_s: float | None = None
    """Seconds of a step by which the slowest rank is behind the mean."""
    exposed_s: float | None = None
    """Seconds of a step in communication that computing does not hide."""
    allreduce_s: float | None = None
    """Seconds of summing the gradient over ranks, with nothing beside."""
    gradient_bytes: int | None = None
    """The bytes of the gradient."""
    samples_per_s: float | None = None
    """Samples a second over all ranks."""
    wall_s: float | None = None
    """Seconds of a whole training."""
    updates: int | None = None
    """The updates of a whole training."""
    samples: int | None = None
    """The samples of a whole training."""
    metric: str = ""
    """The metric's name; empty where nothing was trained."""
    value: float | None = None
    """The metric's value at the end."""
    final_global_batch: int | None = None
    """Samples of a step over all ranks, at the end."""
    reached_wall_s: float | None = None
    """Seconds until the target of --until; None where it was not reached."""
    reached_samples: int | None = None
    """Samples until the target."""
    reached_updates: int | None = None
    """Updates until the target."""
    run_node_hours: float | None = None
    """Node-hours of a training by its own clock: until the target, or its end where it reached none."""


_TYPES = get_type_hints(CellResult)
_NAMES = [field.name for field in fields(CellResult)]


def to_csv(results: Iterable[CellResult]) -> str:
    """Returns all cells as CSV with a head line; None becomes an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _NAMES, lineterminator="\n")
    writer.writeheader()
    for result in results:
        writer.writerow({name: getattr(result, name) for name in _NAMES})
    return text.getvalue()


def from_csv(text: str) -> list[CellResult]:
    """Returns the cells of the text of ``to_csv``.

    Raises:
        KeyError: A column is missing.
        ValueError: A number or a state that is none.
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
