"""The journal on a disk that has lost or damaged a part of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.training.journal import Journal, read


def written(path: Path, lines: int) -> Journal:
    journal = Journal(path)
    journal.record("start", step=0, cursor=0, epoch=0, name="a")
    for step in range(1, lines):
        journal.record("statistics", step=step, cursor=8 * step, epoch=0, loss=1.0 / step)
    return journal


def test_what_came_after_a_checkpoint_is_forgotten(tmp_path: Path) -> None:
    journal = written(tmp_path / "j.jsonl", 5)
    position = journal.position()
    journal.record("statistics", step=5, cursor=40, epoch=0)
    assert journal.go_back(position, 12.5)
    assert [record["step"] for record in journal.read()] == [0, 1, 2, 3, 4]
    assert journal.elapsed_s() == pytest.approx(12.5, abs=5)


@pytest.mark.parametrize(
    ("damage", "steps"),
    [
        (lambda content: content[: len(content) // 2], [0, 1, 2]),
        (lambda _: b"", [0]),
        (lambda _: None, [0]),
        (lambda content: content[:-40] + bytes(40), [0, 1, 2, 3, 4]),
        (lambda content: b"\xff" * 10 + content[10:], [0, 1, 2, 3, 4, 5]),
        (lambda content: content.replace(b'"step": 3', b'"st\x00p": 3'), [0, 1, 2, 4, 5]),
        (lambda content: content.replace(b'"step": 3,', b'"step": 3}\n{'), [0, 1, 2, 4]),
    ],
    ids=["halved", "emptied", "deleted", "zeros", "first line", "a key", "two lines"],
)
def test_whole_records_stay_and_the_first_comes_back(damage: object, steps: list[int], tmp_path: Path) -> None:
    """Bug story: a shorter journal was filled up with NUL bytes, and the run failed at its very end, every time."""
    path = tmp_path / "j.jsonl"
    journal = written(path, 6)
    position, start = journal.position(), journal.start()
    content = damage(path.read_bytes())  # type: ignore[operator]
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert not journal.go_back(position, 0.0, start=start)
    journal.record("gap", step=6, cursor=48, epoch=0)
    records = read(path)
    assert [record["step"] for record in records] == [*steps, 6]
    assert records[0] == start


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    journal = written(tmp_path / "j.jsonl", 4)
    content = (tmp_path / "j.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "j.jsonl").write_bytes(b"".join([*content[:2], b"\x00\xff\n", *content[2:]]))
    with pytest.raises(InputError, match=r"j.jsonl, damaged in line 3; allowed: the journal of a run"):
        journal.read()


def test_a_line_in_the_writing_is_passed_over(tmp_path: Path) -> None:
    journal = written(tmp_path / "j.jsonl", 3)
    with (tmp_path / "j.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"kind": "statistics"})[:-4])
    assert [record["step"] for record in journal.read()] == [0, 1, 2]


def test_brackets_without_end_are_a_damaged_line(tmp_path: Path) -> None:
    """They were a RecursionError."""
    path = tmp_path / "journal.jsonl"
    start = b'{"kind": "start", "cursor": 0}\n'
    path.write_bytes(start + b"[" * 10**5 + b"\n")
    with pytest.raises(InputError, match="damaged in line 2"):
        read(path)
    assert not Journal(path).go_back(path.stat().st_size, 0.0)
    assert path.read_bytes() == start


def test_a_folder_in_the_place_of_a_resumed_journal_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(InputError, match=r"^resume: given .*journal.jsonl, a folder; allowed: the journal of a run"):
        Journal(tmp_path / "journal.jsonl").go_back(10, 0.0)
