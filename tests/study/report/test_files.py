"""The report's folder: whole, or as it was."""

from __future__ import annotations

import re
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.study.report.files import _put_in_place, write_report
from hpc_adabatch.study.results import CellResult, from_csv

pytestmark = pytest.mark.long

ABOUT = {"name": "v100", "recipe": "recipes/quickstart.yaml"}
PICTURES = {"speedup.png", "efficiency.png", "breakdown.png", "target.png", "over_time.png"}


@contextmanager
def disk_of(size_bytes: int) -> Iterator[None]:
    """No file may grow larger than this; writing on fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, results: list[CellResult], journal: object) -> Path:
    """A study's folder with its report, to be looked at only."""
    folder = tmp_path_factory.mktemp("study")
    page = write_report(folder, ABOUT, results, journal)  # type: ignore[arg-type]
    assert page == folder / "report" / "index.html"
    return folder


def test_all_files_are_there(made: Path, results: list[CellResult]) -> None:
    assert set(contents(made / "report")) == {"report.md", "results.csv", "index.html"} | PICTURES
    assert from_csv((made / "report" / "results.csv").read_text(encoding="utf-8")) == results
    assert [path.name for path in made.iterdir()] == ["report"], "nothing is left beside it"


def test_every_picture_of_the_markdown_is_there_and_has_numbers_after_it(made: Path) -> None:
    text = (made / "report" / "report.md").read_text(encoding="utf-8")
    named = re.findall(r"!\[[^\]]+\]\((\w+\.png)\)", text)
    assert set(named) == PICTURES
    for name in named:
        assert (made / "report" / name).read_bytes().startswith(b"\x89PNG")
        assert "| ---:" in text.partition(f"({name})")[2]
    assert text.startswith("# Scaling study v100\n\n- **Cells:** 43 OK")
    assert "fewer than 3 repeats" in text


def test_a_full_disk_leaves_the_old_report(
    made: Path, tmp_path: Path, results: list[CellResult], journal: object
) -> None:
    copytree(made, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path)
    changed = [replace(cell, nodes=2 * cell.nodes) for cell in results]
    with disk_of(30_000), pytest.raises(InputError, match="disk with room"):
        write_report(tmp_path, ABOUT, changed, journal)  # type: ignore[arg-type]
    assert contents(tmp_path) == before
    write_report(tmp_path, ABOUT, changed, journal)  # type: ignore[arg-type]
    assert contents(tmp_path).keys() == before.keys()
    assert contents(tmp_path) != before


def test_the_old_report_comes_back_when_the_new_one_cannot_be_put_in_its_place(tmp_path: Path) -> None:
    place = tmp_path / "report"
    place.mkdir()
    (place / "report.md").write_text("old", encoding="utf-8")
    with pytest.raises(FileNotFoundError):
        _put_in_place(tmp_path / "missing", place, tmp_path / "old")
    assert (place / "report.md").read_text(encoding="utf-8") == "old"


def test_the_report_can_be_read_by_whom_the_umask_lets(tmp_path: Path, results: list[CellResult]) -> None:
    """Temporary folders are private; a report made in one was, too."""
    (tmp_path / "plain").mkdir()
    write_report(tmp_path, ABOUT, results[:3])
    wanted = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE((tmp_path / "report").stat().st_mode) == wanted


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        write_report(tmp_path / "missing", ABOUT, [])


def test_an_empty_study_says_so(tmp_path: Path) -> None:
    text = write_report(tmp_path, {}, []).read_text(encoding="utf-8")
    assert "there is nothing to report" in text
    assert "<img" not in text
    assert set(contents(tmp_path / "report")) == {"report.md", "results.csv", "index.html"}


def test_a_study_whose_cells_all_failed_lists_them(tmp_path: Path, results: list[CellResult]) -> None:
    failed = [replace(cell, state="FAILED", reason=f"because of {cell.cell}") for cell in results]
    text = write_report(tmp_path, ABOUT, failed).read_text(encoding="utf-8")
    assert "No cell is OK" in text
    assert text.count("because of ") == len(results)
    assert "<img" not in text


def test_one_node_count_has_tables_and_no_curve(tmp_path: Path, results: list[CellResult]) -> None:
    write_report(tmp_path, ABOUT, [cell for cell in results if cell.nodes == 1])
    assert set(contents(tmp_path / "report")) & PICTURES == {"breakdown.png", "target.png"}
