"""Files of other releases: those without a format are of format 1, and a newer one is told in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_adabatch import records
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.result import report, write_result
from hpc_adabatch.study import submissions
from hpc_adabatch.study.ahead import plan_ahead
from hpc_adabatch.study.collect import collect
from hpc_adabatch.study.places import place_of
from hpc_adabatch.training import checkpoint
from hpc_adabatch.training.journal import Journal, read

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fuzz import JOURNALS, a_study, file_plan, probe_file

Use = Callable[[], object]


def a_journal(folder: Path) -> tuple[Path, Use]:
    path = folder / "journal.jsonl"
    path.write_bytes(JOURNALS[0].read_bytes())
    return path, lambda: read(path)


def a_journal_that_goes_on(folder: Path) -> tuple[Path, Use]:
    path, _ = a_journal(folder)
    return path, lambda: Journal(path).go_back(path.stat().st_size, 1.0)


def a_result(folder: Path) -> tuple[Path, Use]:
    path, _ = a_journal(folder)
    write_result(folder / "result.json", read(path), wall_s=3.0, samples_per_s=100.0)
    return folder / "result.json", lambda: list(report(folder))


def a_result_of_a_cell(folder: Path) -> tuple[Path, Use]:
    made = a_study(folder)
    place = place_of(made.load(), made)
    return made.cell(made.load().cells[0].name) / "result.json", lambda: collect(made, place.look(), {})


def a_plan(folder: Path) -> tuple[Path, Use]:
    made = a_study(folder)
    return made.study, made.load


def a_submission(folder: Path) -> tuple[Path, Use]:
    made = a_study(folder)
    return made.submissions, lambda: submissions.read(made)


def a_probe(folder: Path) -> tuple[Path, Use]:
    recipe, flags = file_plan(probe_file(folder))
    return folder / "probe.json", lambda: list(plan_ahead(recipe, 1, flags))


FILES = [a_journal, a_journal_that_goes_on, a_result, a_result_of_a_cell, a_plan, a_submission, a_probe]


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_a_newer_format_is_one_line_and_none_is_the_first(
    make: Callable[[Path], tuple[Path, Use]], tmp_path: Path
) -> None:
    path, use = make(tmp_path)
    first, *rest = (
        path.read_text(encoding="utf-8").splitlines(keepends=True)
        if path.suffix == ".jsonl"
        else [path.read_text(encoding="utf-8")]
    )

    def write(**number: object) -> None:
        content = json.loads(first)
        content.pop("format", None)
        path.write_text("".join([json.dumps(content | number) + "\n", *rest]), encoding="utf-8")

    for number in ({}, {"format": 1}):
        write(**number)
        use()
    for newer in (2, 10**30, 0, 1.5, "2", None, [1]):
        write(format=newer)
        with pytest.raises(InputError) as caught:
            use()
        line = f", in format {newer}; allowed: format 1, or a newer release of hpc_adabatch, which reads this file"
        assert str(caught.value).endswith(line)


def test_what_is_written_today_says_its_format(tmp_path: Path) -> None:
    path, _ = a_result(tmp_path)
    assert json.loads(path.read_text(encoding="utf-8"))["format"] == records.FORMAT
    plan, _ = a_plan(tmp_path)
    assert json.loads(plan.read_text(encoding="utf-8"))["format"] == records.FORMAT
    journal = Journal(tmp_path / "new.jsonl")
    for kind in ("start", "end"):
        journal.record(kind, step=0, cursor=0, epoch=0)
    assert [record.get("format") for record in journal.read()] == [records.FORMAT, None]
    checkpoint.save(tmp_path, {})
    assert b"\nhpc_adabatch checkpoint 1 sha256 " in (tmp_path / "last.pt").read_bytes()
    assert checkpoint.load(tmp_path, SingleProcess()) is not None


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: path.stem)
def test_journals_of_before_there_were_formats_are_read(path: Path) -> None:
    assert b"format" not in path.read_bytes()
    assert read(path)[0]["kind"] == "start"
