"""Files are complete, or as they were before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hpc_adabatch import files
from hpc_adabatch.errors import InputError, StorageError
from hpc_adabatch.files import make_writable, synced, whole, write_json


def test_a_file_takes_the_old_ones_place_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_text("old")
    with whole(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["result"]


@pytest.mark.parametrize("concurrent", [False, True])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, concurrent: bool) -> None:
    path = tmp_path / "result"
    path.write_text("old")

    def run_out_of_room() -> None:
        with whole(path, concurrent=concurrent) as file:
            file.write(b"ne")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        run_out_of_room()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["result"]


def test_a_full_disk_is_told_in_one_line_also_under_torchs_own_error(tmp_path: Path, small_files: Any) -> None:
    """Story: the last line of a run was torch's "unexpected pos", and nothing said where or why."""
    (tmp_path / "last.pt").write_bytes(b"old")

    def save() -> None:
        with small_files(10_000), whole(tmp_path / "last.pt") as file:
            torch.save({"weights": torch.zeros(100_000)}, file)

    with pytest.raises(StorageError, match=r"last.pt cannot be written: File too large; [\d.]+ MB are free there$"):
        save()
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"last.pt": b"old"}


def test_what_is_no_refusal_of_the_system_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a fault of the program"), whole(tmp_path / "last"):
        raise RuntimeError("a fault of the program")


def test_the_old_file_is_kept_under_its_other_name(tmp_path: Path) -> None:
    last, previous = tmp_path / "last", tmp_path / "previous"
    for content in (b"1", b"2", b"3"):
        with whole(last, previous=previous) as file:
            file.write(content)
    assert (last.read_bytes(), previous.read_bytes()) == (b"3", b"2")


def test_the_first_file_has_no_previous_one(tmp_path: Path) -> None:
    with whole(tmp_path / "last", previous=tmp_path / "previous") as file:
        file.write(b"1")
    assert [each.name for each in tmp_path.iterdir()] == ["last"]


def test_what_was_killed_in_between_does_not_hinder_the_next(tmp_path: Path) -> None:
    (tmp_path / ".last.tmp").write_bytes(b"cut sh" * 1000)
    with whole(tmp_path / "last") as file:
        file.write(b"whole")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"last": b"whole"}


def test_two_processes_do_not_write_into_each_others_file(tmp_path: Path) -> None:
    with whole(tmp_path / "table") as one, whole(tmp_path / "table", concurrent=True) as other:
        one.write(b"one")
        other.write(b"other")
    assert (tmp_path / "table").read_bytes() == b"one"  # the last to end


def test_content_is_on_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real_fsync, real_replace = files.os.fsync, files.os.replace
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: (calls.append("fsync"), real_fsync(descriptor)))
    monkeypatch.setattr(files.os, "replace", lambda a, b: (calls.append("rename"), real_replace(a, b)))
    with whole(tmp_path / "last") as file:
        file.write(b"1")
    assert calls == ["fsync", "rename", "fsync"]  # of the file; its name; of the folder


def test_lines_are_added_at_the_end(tmp_path: Path) -> None:
    for line in (b"a\n", b"b\n"):
        with synced(tmp_path / "lines", "ab") as file:
            file.write(line)
    assert (tmp_path / "lines").read_bytes() == b"a\nb\n"


def test_json_holds_finite_numbers_only(tmp_path: Path) -> None:
    write_json(tmp_path / "numbers.json", {"name": "ä", "value": 1.5})
    assert json.loads((tmp_path / "numbers.json").read_text()) == {"format": 1, "name": "ä", "value": 1.5}
    assert (tmp_path / "numbers.json").read_text().endswith("\n}\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "numbers.json", {"value": float("nan")})
    assert json.loads((tmp_path / "numbers.json").read_text())["value"] == 1.5
    assert [each.name for each in tmp_path.iterdir()] == ["numbers.json"]


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    make_writable(tmp_path / "a" / "b", given=tmp_path, allowed="a folder", example="--out DIR")
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "b"]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"out: given x \(Not a directory\); allowed: a folder; type --out DIR"):
        make_writable(tmp_path / "file" / "c", given=Path("x"), allowed="a folder", example="--out DIR")
