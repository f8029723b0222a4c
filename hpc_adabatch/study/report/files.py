"""The report of a study: markdown, CSV, pictures, and one page that opens offline.

The folder has index.html, the same as markdown, results.csv, and a PNG of each picture; where it is asked for, a page
of evidence for a centre (proposal.py) in both forms. It is written beside the old one and put in its place at the end,
so that a full disk or a crash leaves the old one.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import InputError
from ...files import synced
from ..results import CellResult, to_csv
from .canvas import render
from .findings import Remark, summary
from .history import JournalOf, histories
from .lines import join
from .page import page
from .proposal import Proposal, proposal_sections, verdicts
from .sections import Section, sections
from .tables import escaped, facts, markdown

FOLDER = "report"


def write_report(
    folder: Path,
    about: Mapping[str, str],
    results: Sequence[CellResult],
    journal: JournalOf | None = None,
    proposal: Proposal | None = None,
) -> Path:
    """Writes folder/report/, in place of an older one.

    Args:
        folder: The folder of the study.
        about: Facts of the study, in the order to be shown; ``name`` becomes the title.
        results: The cells, in the order to be shown.
        journal: Returns the records of a cell's journal, for the picture of batch and metric over time.
        proposal: The facts for a page of evidence for a centre; None for no such page.

    Returns:
        The page: index.html, or proposal.html where that is asked for.

    Raises:
        InputError: The folder cannot be written, or its disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".report-", dir=folder, ignore_cleanup_errors=True) as beside:
            new = Path(beside) / "new"
            new.mkdir()  # as readable as the user's umask lets it be; the folder around it is private
            _write_all(new, about, results, journal)
            if proposal is not None:
                _write_proposal(new, about, results, proposal)
            _put_in_place(new, folder / FOLDER, Path(beside) / "old")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(FOLDER, f"{folder} ({reason})", "a folder that can be written, on a disk with room") from error
    return folder / FOLDER / ("index.html" if proposal is None else "proposal.html")


def _write_all(new: Path, about: Mapping[str, str], results: Sequence[CellResult], journal: JournalOf | None) -> None:
    lines = join(results)
    said, parts = summary(results, lines), sections(results, lines, histories(results, journal))
    title = f"Scaling study {about.get('name', '')}".strip()
    _write(new / "results.csv", to_csv(results).encode())
    _write(new / "report.md", report_text(title, about, said, parts).encode())
    rendered = {}
    for part in parts:
        if part.picture is not None:
            files = rendered[part.picture.name] = render(part.picture.draw)
            _write(new / f"{part.picture.name}.png", files.png)
    _write(new / "index.html", page(title, about, said, parts, rendered).encode())


def _write_proposal(new: Path, about: Mapping[str, str], results: Sequence[CellResult], proposal: Proposal) -> None:
    lines = join(results)
    said, parts = verdicts(lines, proposal), proposal_sections(lines, proposal)
    title = f"Scaling evidence {about.get('name', '')}".strip()
    _write(new / "proposal.md", report_text(title, about, said, parts).encode())
    drawn = {part.picture.name: render(part.picture.draw) for part in parts if part.picture is not None}
    _write(new / "proposal.html", page(title, about, said, parts, drawn).encode())


def report_text(title: str, about: Mapping[str, str], said: Sequence[Remark], parts: Sequence[Section]) -> str:
    """Returns the text of report.md: every picture with a table of the same numbers."""
    text = [f"# {escaped(title)}", "", *(f"- **{escaped(one.about)}:** {escaped(one.text)}" for one in said), ""]
    for part in parts:
        text += [f"## {part.title}", ""]
        text += [escaped(part.words), ""] if part.words else []
        text += [f"![{escaped(part.picture.says)}]({part.picture.name}.png)", ""] if part.picture else []
        for table in part.tables:
            text += [markdown(table), ""]
        text += _fenced(part.code) if part.code else []
    text += ["## What was run", "", markdown(facts(tuple(about.items()))), ""] if about else []
    return "\n".join(text)


def _fenced(code: str) -> list[str]:
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", code)), default=2))
    return [fence, code.rstrip("\n"), fence, ""]


def _write(path: Path, content: bytes) -> None:
    with synced(path) as file:
        file.write(content)


def _put_in_place(new: Path, place: Path, old: Path) -> None:
    """Puts the new folder in place of the old by two renames; when the second fails, the first is taken back."""
    moved = place.exists()
    if moved:
        place.rename(old)
    try:
        new.rename(place)
    except OSError:
        if moved:
            old.rename(place)
        raise
