"""A journal's decisions, taken again at their cursors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpc_adabatch import InputError, Replay
from hpc_adabatch.policies import Progress, Recorded


def journal(folder: Path, *lines: dict[str, Any]) -> str:
    path = folder / "journal.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_replay_repeats_decisions_at_their_cursors(tmp_path: Path) -> None:
    lines = [
        {"kind": "start", "cursor": 0, "global_batch": 32, "learning_rate_factor": 1.0},
        {"kind": "noise", "cursor": 320},
        {"kind": "decision", "cursor": 320, "global_batch": 48, "learning_rate_factor": 0.5},
    ]
    rule = Replay(journal=journal(tmp_path, *lines))
    assert (rule.initial_batch, rule.largest_batch) == (32, 48)

    def at(samples: int) -> Progress:
        return Progress(
            samples_seen=samples, samples_per_epoch=1000, start_batch=32, global_batch=32, max_global_batch=64
        )

    assert [rule.phase(at(samples)) for samples in (0, 319, 320, 9999)] == [0, 0, 1, 1]
    proposal = rule.propose(at(320))
    assert (proposal.global_batch, proposal.learning_rate_factor) == (48, 0.5)


def test_the_journal_of_a_run_that_was_killed_within_a_line_is_replayed(tmp_path: Path) -> None:
    path = journal(tmp_path, {"kind": "start", "cursor": 0, "global_batch": 32, "learning_rate_factor": 1.0})
    with Path(path).open("a", encoding="utf-8") as file:
        file.write('{"kind": "decision", "cursor": 320, "global_ba')
    assert Replay(journal=path).sizes == [32]


@pytest.mark.parametrize(
    "lines", [[], [{"kind": "decision", "cursor": 5, "global_batch": 3, "learning_rate_factor": 1.0}], [{"a": 1}]]
)
def test_what_is_no_journal_is_refused(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"policy\.journal"):
        Replay(journal=journal(tmp_path, *lines))
    with pytest.raises(InputError, match="FileNotFoundError"):
        Replay(journal=str(tmp_path / "none.jsonl"))


def test_records_at_hand_are_replayed_as_those_of_a_file() -> None:
    start = {"kind": "start", "cursor": 0, "global_batch": 32, "learning_rate_factor": 1.0}
    rule = Recorded([start, {"kind": "step", "cursor": 64, "global_batch": 8}])
    assert (rule.cursors, rule.sizes) == ([0, 64, 72], [32, 8, 32])
    with pytest.raises(InputError, match="given records"):
        Recorded([{"kind": "start", "cursor": 0}])
