"""Folders of runs for the tests of reports, made from the real journals of tests/journals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpc_adabatch.run.report.account import Account, account
from hpc_adabatch.run.result import write_result
from hpc_adabatch.training.journal import read

JOURNALS = Path(__file__).resolve().parents[2] / "journals"
Record = dict[str, Any]
Change = Callable[[list[Record]], list[Record]]


def run(folder: Path, rule: str, change: Change = list, *, label: str = "", complete: bool = True) -> Account:
    """Writes the folder of a run, and reads it.

    Args:
        folder: The folder.
        rule: The rule whose journal is taken.
        change: Returns the records to be written, given those of the journal.
        label: The name in a comparison.
        complete: True for a run with result.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = change(read(JOURNALS / f"{rule}.jsonl"))
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "journal.jsonl").write_text(lines, encoding="utf-8")
    if complete:
        write_result(folder / "result.json", records, wall_s=records[-1]["time_s"], samples_per_s=1234.5)
    return account(folder, label)


def without_end(records: list[Record]) -> list[Record]:
    return records[:-1]


def ended(reason: str) -> Change:
    """Returns a change after which the run ends half way, for a reason."""

    def change(records: list[Record]) -> list[Record]:
        first = records[: len(records) // 2]
        return [*first, {**first[-1], "kind": "end", "reason": reason}]

    return change
