"""Batch and metric over time, from journals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.study.report.history import histories, history
from hpc_adabatch.study.results import CellResult


def test_the_batch_is_told_where_it_changes(results: list[CellResult]) -> None:
    records = [
        {"kind": "start", "time_s": 0.0, "metric": "accuracy", "global_batch": 32},
        {"kind": "statistics", "time_s": 1.0, "global_batch": 32},
        {"kind": "decision", "time_s": 2.0, "global_batch": 32},
        {"kind": "evaluation", "time_s": 3.0, "metric": None},
        {"kind": "decision", "time_s": 3.5, "global_batch": 64},
        {"kind": "resume", "time_s": 4.0, "global_batch": 48},
        {"kind": "evaluation", "time_s": 5.0, "metric": 0.5},
    ]
    found = history(results[0], records)
    assert found is not None
    assert found.batches == ((0.0, 32), (3.5, 64), (4.0, 48))
    assert found.metrics == ((5.0, 0.5),), "a metric that is not finite is no point"
    assert found.end_s == 5.0


@pytest.mark.parametrize(
    ("metric", "best"), [("accuracy", 0.75), ("perplexity", 0.25), ("gap", 0.25), ("my own", 0.75)]
)
def test_the_best_is_the_least_where_the_task_says_so(results: list[CellResult], metric: str, best: float) -> None:
    """Of ridge and logistic regression the report named the worst gap best."""
    records = [{"kind": "start", "time_s": 0.0, "metric": metric, "global_batch": 32}]
    assert (found := history(results[0], records)) is not None
    assert (found.best, found.last) == (None, None)
    records += [{"kind": "evaluation", "time_s": 1.0, "metric": value} for value in (0.5, 0.25, 0.75, 0.5)]
    assert (found := history(results[0], records)) is not None
    assert (found.best, found.last) == (best, 0.5)


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "decision", "time_s": 1.0},
        {"kind": "decision", "time_s": 1.0, "global_batch": "64"},
        {"kind": "evaluation", "time_s": 10**400, "metric": 0.5},
        {"kind": "evaluation", "time_s": 1.0, "metric": [0.5]},
        {"kind": "end"},
    ],
)
def test_a_journal_with_a_line_of_another_kind_is_one_line(results: list[CellResult], line: dict[str, Any]) -> None:
    start = {"kind": "start", "time_s": 0.0, "metric": "accuracy", "global_batch": 32}
    with pytest.raises(InputError, match=r"^journal.jsonl: given that of cell adaptive_n001_fixed_r1 \(.*; allowed: "):
        histories(results, lambda _: [start, line])


def test_only_adaptive_cells_that_are_ok_and_left_a_journal(
    results: list[CellResult], journal: Callable[[CellResult], list[dict[str, Any]]]
) -> None:
    def one_is_missing(cell: CellResult) -> list[dict[str, Any]] | None:
        return None if cell.cell == "adaptive_n001_fixed_r1" else [] if cell.repeat == 2 else journal(cell)

    found = {one.cell.cell for one in histories(results, one_is_missing)}
    assert "adaptive_n001_fixed_r3" in found
    assert not [name for name in found if name.startswith(("strong", "weak")) or name.endswith("_r2")]
    assert not found & {"adaptive_n001_fixed_r1", "adaptive_n004_big-batch_r3"}
    assert histories(results, None) == []
