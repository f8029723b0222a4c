"""The words of ``adabatch report RUN [RUN ...] [--html [FILE]]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import require

NAME = "report.html"
"""The page where no file is given: in the folder of a run; of several, in the folder in which one works."""
EXAMPLE = "adabatch report runs/NAME --html"


@dataclass(frozen=True)
class Wanted:
    """The things that are asked for."""

    runs: list[Path]
    """The folders of the runs."""
    page: Path | None
    """The file of the page; None where none is asked for."""


def wanted(words: Sequence[str]) -> Wanted:
    """Returns what the words ask for. The word behind ``--html`` is its file where it ends in .html.

    Raises:
        InputError: There is no run among them, or a flag that is none.
    """
    runs: list[Path] = []
    page, asks, before = None, False, ""
    for word in words:
        flag, equals, file = word.partition("=")
        if flag == "--html":
            asks = True
            page = Path(file) if equals else page
        elif before == "--html" and word.endswith(".html"):
            page = Path(word)
        else:
            require(not word.startswith("-"), word.lstrip("-").partition("=")[0] or "RUN", word, "--html", EXAMPLE)
            runs.append(Path(word))
        before = word
    require(bool(runs), "RUN", "nothing", "the folders of runs", "adabatch report runs/NAME")
    if page is None and asks:
        page = runs[0] / NAME if len(runs) == 1 else Path(NAME)
    if page is not None:
        fits = page.suffix == ".html" and not page.is_dir()
        require(fits, "html", page, "a file whose name ends in .html", f"{EXAMPLE} report.html")
        given = f"{page}, in no folder that there is"
        require(page.parent.is_dir(), "html", given, "a file in a folder that there is", f"{EXAMPLE} report.html")
    return Wanted(runs, page)
