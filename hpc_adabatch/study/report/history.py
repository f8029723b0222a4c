"""A training's batch and metric over time, from its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...errors import reading
from ...records import misfit
from ...run.metric import larger_is_better
from ...training.journal import Record
from ..results import CellResult
from ..spec import FIXED_MODES
from ..state import State

JournalOf = Callable[[CellResult], "list[Record] | None"]
"""A function that returns the records of a cell's journal; None where the cell left none."""


@dataclass(frozen=True, kw_only=True)
class History:
    """A training's batch and metric over time. Times are in seconds since its start."""

    cell: CellResult
    """The cell that trained."""
    metric: str
    """The metric's name."""
    larger_is_better: bool
    """True for accuracy, False for perplexity."""
    batches: tuple[tuple[float, int], ...]
    """The pairs (time, samples of a step from then on), one for each change."""
    ranks: tuple[tuple[float, int], ...]
    """The pairs (time, ranks from then on), one for each change."""
    metrics: tuple[tuple[float, float], ...]
    """The pairs (time, value), one for each evaluation."""
    end_s: float
    """The time of the last record."""

    @property
    def best(self) -> float | None:
        """Returns the best of the metric's values; None without any."""
        return (max if self.larger_is_better else min)((value for _, value in self.metrics), default=None)

    @property
    def last(self) -> float | None:
        """Returns the last of the metric's values; None without any."""
        return self.metrics[-1][1] if self.metrics else None


def histories(results: Iterable[CellResult], journal: JournalOf | None) -> list[History]:
    """Returns the histories of the cells whose batch changes, that are OK and left a journal.

    Raises:
        InputError: A journal is damaged.
    """
    chosen = [cell for cell in results if journal and cell.mode not in FIXED_MODES and cell.state == State.OK]
    found = [_checked(cell, journal) for cell in chosen if journal]
    return [one for one in found if one is not None]


def _checked(cell: CellResult, journal: JournalOf) -> History | None:
    with reading("journal.jsonl", f"that of cell {cell.cell}", "the journal of a run", "adabatch study submit NAME"):
        found = history(cell, journal(cell) or [])
        if found is not None and (wrong := misfit(found)) is not None:
            raise TypeError(wrong)
    return found


def history(cell: CellResult, records: list[Record]) -> History | None:
    """Returns the history of a cell; None where the records do not begin with a start, as of a run killed at once."""
    if not records or records[0]["kind"] != "start":
        return None
    said = [record for record in records if record["kind"] in ("start", "decision", "resume")]
    measured = [record for record in records if record["kind"] == "evaluation" and record["metric"] is not None]
    return History(
        cell=cell,
        metric=records[0]["metric"],
        larger_is_better=larger_is_better(records[0]),
        batches=_changes((record["time_s"], record["global_batch"]) for record in said),
        ranks=_changes((record["time_s"], record["world_size"]) for record in said if "world_size" in record),
        metrics=tuple((record["time_s"], record["metric"]) for record in measured),
        end_s=records[-1]["time_s"],
    )


def _changes(told: Iterable[tuple[float, int]]) -> tuple[tuple[float, int], ...]:
    """Returns those of the pairs whose value is another than that of the one before."""
    found: list[tuple[float, int]] = []
    for time_s, value in told:
        if not found or found[-1][1] != value:
            found.append((time_s, value))
    return tuple(found)
