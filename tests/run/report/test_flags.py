"""The words of ``adabatch report``."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.run.report.flags import Wanted, wanted


@pytest.mark.parametrize(
    ("words", "runs", "page"),
    [
        (["runs/a"], ["runs/a"], None),
        (["a", "--html"], ["a"], "a/report.html"),
        (["--html", "a"], ["a"], "a/report.html"),  # not a file: its name does not end in .html
        (["a", "b", "--html"], ["a", "b"], "report.html"),
        (["a", "--html", "own.html"], ["a"], "own.html"),
        (["--html", "own.html", "a", "b"], ["a", "b"], "own.html"),
        (["a", "--html=own.html", "b"], ["a", "b"], "own.html"),
    ],
)
def test_words(
    words: list[str], runs: list[str], page: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    assert wanted(words) == Wanted([Path(run) for run in runs], Path(page) if page is not None else None)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "RUN: given nothing; allowed: the folders of runs"),
        (["--html"], "RUN: given nothing"),
        (["a", "--htm"], "htm: given --htm; allowed: --html"),
        (["a", "--html=notes.txt"], "html: given notes.txt; allowed: a file whose name ends in .html"),
        (["a", "--html", "folder.html"], "html: given folder.html; allowed: a file whose name ends in .html"),
        (["a", "--html", "missing/own.html"], "html: given missing/own.html, in no folder that there is"),
    ],
)
def test_words_that_cannot_be_used(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.html").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        wanted(words)
    assert str(caught.value).startswith(line)
