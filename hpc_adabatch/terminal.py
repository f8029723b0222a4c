"""What people read in a terminal or a log file: lines, tables, numbers."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Collection, Iterable, Sequence

from rich.box import ASCII2, HEAVY_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

WIDTH = 150
"""Letters of a line of a table where the output is no terminal, such as a log file."""


class _Output(Console):
    """A console whose reader may leave: that is an OSError, as any other log that cannot be written."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # of what follows nothing is kept
        raise BrokenPipeError("who reads the output has left")


def console() -> Console:
    """Returns the standard output, which shows every text as it is: no markup, no emoji, no colours of its own."""
    # mpirun gives each rank a terminal as standard output, whatever its own output is, but not as standard error
    terminal = sys.stdout.isatty() and sys.stderr.isatty()
    return _Output(
        soft_wrap=True,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=terminal,
        width=None if terminal else WIDTH,
        file=sys.stdout,
    )


def display(*parts: RenderableType) -> None:
    """Prints lines and tables, at once."""
    out = console()
    for part in parts:
        out.print(part)
    out.file.flush()


def table(
    headings: Iterable[str],
    rows: Iterable[Sequence[RenderableType]],
    *,
    left: Collection[str] = (),
    unbroken: Collection[str] = (),
    title: str | None = None,
    ascii_only: bool = False,
) -> Table:
    """Returns a table.

    Args:
        headings: One for each column.
        rows: One cell for each heading; an empty row draws a line under the row before.
        left: Headings of the columns that are set to the left; the others are set to the right.
        unbroken: Headings of the columns that stay on one line, however narrow the terminal.
        title: A line above the table.
        ascii_only: True for tables printed under horovodrun, which passes output on in pieces that may end inside a
            character of several bytes.
    """
    found = Table(title=title, title_justify="left", title_style="", box=ASCII2 if ascii_only else HEAVY_HEAD)
    for heading in headings:
        found.add_column(heading, justify="left" if heading in left else "right", no_wrap=heading in unbroken)
    for row in rows:
        if row:
            found.add_row(*row)
        else:
            found.add_section()
    return found


def number(value: float | None, digits: int = 3) -> str:
    """Returns a number with so many significant digits, thousands apart; an empty text for None.

    An exponent stands only with numbers that would need more than about a dozen places.
    """
    if value is None:
        return ""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    if not -12 < places < 8:
        return f"{value:.{digits - 1}e}"
    return f"{round(value, places):,.{max(0, places)}f}"


def count(value: int | None) -> str:
    """Returns a whole number with all its digits, thousands apart; an empty text for None."""
    return "" if value is None else f"{value:,}"
