"""A journal read while it grows, is cut short, and is replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from hpc_adabatch.run.watch.journal_tail import JournalTail
from hpc_adabatch.training.journal import Journal


def text(*cursors: int) -> bytes:
    return b"".join(json.dumps({"kind": "statistics", "cursor": cursor}).encode() + b"\n" for cursor in cursors)


def cursors(tail: JournalTail) -> tuple[bool, list[int]]:
    anew, records = tail.new()
    return anew, [record["cursor"] for record in records]


@given(some.lists(some.integers(0, 9), max_size=30), some.data())
@settings(max_examples=50, deadline=None)
def test_every_line_comes_once_however_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], data: some.DataObject
) -> None:
    path, content = tmp_path_factory.mktemp("tail") / "journal.jsonl", text(*numbers)
    tail, read, written = JournalTail(path), [], 0
    while written < len(content):
        more = data.draw(some.integers(1, len(content) - written))
        with path.open("ab") as file:
            file.write(content[written : written + more])
        written += more
        read += tail.new()[1]
    assert [record["cursor"] for record in read] == numbers
    assert tail.new()[1] == []


def test_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    tail = JournalTail(tmp_path / "journal.jsonl")
    assert cursors(tail) == (False, [])
    (tmp_path / "journal.jsonl").write_bytes(text(1) + b'{"kind"')
    assert cursors(tail) == (True, [1])
    assert cursors(tail) == (False, [])


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(text(1) + b"\xff\n[1]\n" + text(2))
    assert cursors(JournalTail(path)) == (True, [1, 2])


def test_a_journal_that_went_back_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(text(1, 2, 3))
    tail = JournalTail(path)
    tail.new()
    Journal(path).go_back(len(text(1, 2)), 0.0)  # as a run does that goes on from a checkpoint
    assert cursors(tail) == (True, [1, 2])
    with path.open("ab") as file:
        file.write(text(4))
    assert cursors(tail) == (False, [4])


def test_a_journal_that_went_back_and_has_grown_since_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(text(1, 2, 3))
    tail = JournalTail(path)
    tail.new()
    path.write_bytes(text(1, 2, 7, 8, 9))
    assert cursors(tail) == (True, [1, 2, 7, 8, 9])
