"""All lines of journals as a table: a row for each line, a column for each field that any line has.

    run             label of the run
    kind, step, cursor, epoch, time_s      of every line
    FIELD           as in docs/run-folder.md; empty in lines without it
    metric_name     the start's ``metric``, which is a name there, and a number in evaluations

Lists and objects, such as trust ratios and versions, are JSON texts. All values of a column are of one kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...training.journal import Record

FIRST = ("run", "kind", "step", "cursor", "epoch", "time_s")
_LARGEST = 2**63  # of whole numbers in Parquet; a damaged journal may hold others, which become texts
_RENAMED = {("start", "metric"): "metric_name"}


def columns(runs: Mapping[str, Sequence[Record]]) -> dict[str, list[Any]]:
    """Returns the columns by name, each with as many values as there are lines; None where a line has no such field.

    Args:
        runs: The lines of each journal, by the run's label.
    """
    rows = [_row(label, record) for label, records in runs.items() for record in records]
    names = dict.fromkeys((*FIRST, *(name for row in rows for name in row)))
    return {name: _of_one_kind([row.get(name) for row in rows]) for name in names}


def _row(label: str, record: Record) -> dict[str, Any]:
    named = {_RENAMED.get((record["kind"], name), name): value for name, value in record.items()}
    plain = {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in named.items()}
    return {"run": label, **plain}


def _of_one_kind(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    fits = all(abs(value) < _LARGEST for value in values if isinstance(value, int))
    if len(kinds) < 2 and fits:
        return values
    if kinds == {int, float} and fits:
        return [value if value is None else float(value) for value in values]
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
