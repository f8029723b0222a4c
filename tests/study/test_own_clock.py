"""The nodes of a run that changed them, and the seconds on each, from journals that are whole and that are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpc_adabatch.study.own_clock import own_clock


def journal(folder: Path, *records: dict[str, Any] | str) -> Path:
    path = folder / "journal.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in records), encoding="utf-8")
    return path


def test_each_part_counts_with_its_own_ranks(tmp_path: Path) -> None:
    path = journal(
        tmp_path,
        {"kind": "start", "time_s": 0.0, "world_size": 2},
        {"kind": "end", "time_s": 9.0, "reason": "nodes"},
        {"kind": "resume", "time_s": 10.0, "world_size": 8},
        {"kind": "resume", "time_s": 14.0, "world_size": 4},
        {"kind": "evaluation", "time_s": 20.0},
    )
    clock = own_clock(path, 1)
    assert clock is not None
    assert clock.rank_seconds() == 10 * 2 + 4 * 8 + 6 * 4
    assert clock.rank_seconds(12.0) == 10 * 2 + 2 * 8
    assert clock.rank_seconds(3.0) == 3 * 2
    assert clock.rank_seconds(99.0) == 10 * 2 + 4 * 8 + 85 * 4  # the end is told elsewhere


def test_lines_that_are_damaged_are_passed_over(tmp_path: Path) -> None:
    path = journal(tmp_path, "[]", '"text"', {"kind": "start", "time_s": 0.0}, {"kind": "step", "time_s": 5.0}, '{"ki')
    clock = own_clock(path, 3)
    assert clock is not None
    assert (clock.parts, clock.rank_seconds()) == (((0.0, 3),), 15.0)
    assert own_clock(journal(tmp_path, "{", "null"), 3) is None
    assert own_clock(tmp_path / "missing", 3) is None
