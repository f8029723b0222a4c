"""A report as one HTML page that opens offline: script, style and numbers are in it, and nothing is fetched.

The browser is told so as well: by the policy in its head, no script runs but those of the page, known by their
digests, and nothing is loaded from anywhere. Every text that comes from files is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from ...errors import reading
from ...files import synced, writing
from .account import ALLOWED, Account
from .advice import advice
from .comparison import comparison_verdict
from .figures import Figures, figures
from .sections import Section, sections, what
from .tables import Table
from .time_spent import Part
from .words import Tile, tiles, verdict

LONG = 36  # letters, above which a cell is broken into lines
MANY = 4  # warnings, above which they are unfolded by a click
THINNED = (
    "Curves of more points than a screen has are drawn through fewer: of every stretch the points where a number is "
    "smallest or largest, so that no peak is lost. Throughput and trust ratios are means and medians over stretches. "
    "Tables and key numbers count every record."
)


def write_page(path: Path, runs: Sequence[Account]) -> None:
    """Writes the page.

    Args:
        path: The file.
        runs: The run; or several, which are compared to the first.

    Raises:
        InputError: Bokeh is not installed, or something in the files of a run is missing or of another type.
        StorageError: The page cannot be written.
    """
    with reading("RUN", " ".join(str(run.folder.path) for run in runs), ALLOWED, "adabatch report runs/NAME --html"):
        content = page(runs).encode("utf-8", errors="backslashreplace")
    with writing(path), synced(path) as file:
        file.write(content)


def page(runs: Sequence[Account]) -> str:
    """Returns the page as text.

    Args:
        runs: The run; or several, which are compared to the first.

    Raises:
        InputError: Bokeh is not installed.
    """
    first, drawn = runs[0], figures(runs)
    single = len(runs) == 1
    title = first.label if single else f"{len(runs)} runs beside {first.label}"
    below = what(first) if single else "compared to the first one given"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(drawn.scripts)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}</style></head><body>",
            f'<header><h1>{escape(title)}</h1><p class="what">{escape(below)}</p></header>',
            f'<p class="verdict">{escape(verdict(first) if single else comparison_verdict(runs))}</p>',
            _tiles(tiles(first)) if single else "",
            _advice(runs),
            _charts(drawn),
            *map(_section, sections(runs)),
            f"<footer><p>{escape(_made_from(runs, drawn))}</p></footer>",
            f'<script type="application/json" id="axes">{drawn.axes}</script>',
            *(f"<script>{script}</script>" for script in drawn.scripts),
            "</body></html>",
        ]
    )


def _policy(scripts: Sequence[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"


def _made_from(runs: Sequence[Account], drawn: Figures) -> str:
    written = [(run.folder.journal, datetime.fromtimestamp(run.folder.journal.stat().st_mtime)) for run in runs]
    journals = ", ".join(f"{journal} (last written {time:%Y-%m-%d %H:%M})" for journal, time in written)
    thinned = f" {THINNED}" if drawn.thinned else ""
    return f"Made by adabatch report from {journals}.{thinned}"


def _tiles(shown: Sequence[Tile]) -> str:
    cells = "".join(
        f'<div class="tile"><dt>{escape(tile.name)}</dt><dd class="value">{escape(tile.value)}</dd>'
        f'<dd class="beside">{escape(tile.beside)}</dd></div>'
        for tile in shown
    )
    return f'<dl class="tiles">{cells}</dl>'


def _advice(runs: Sequence[Account]) -> str:
    said = [(run.label if len(runs) > 1 else "", one) for run in runs for one in advice(run)]
    items = "".join(
        f"<li><b>{escape(f'{label}: ' if label else '')}{escape(one.title)}.</b> {_with_flags(one.text)}</li>"
        for label, one in said
    )
    if len(said) > MANY:
        summary = f"<summary>{len(said)} things to look at</summary>"
        return f'<details class="all">{summary}<ul class="advice">{items}</ul></details>'
    return f'<ul class="advice">{items}</ul>' if items else ""


def _with_flags(text: str) -> str:
    """Returns a text as HTML in which no flag is broken into two lines."""
    return re.sub(r"--[a-z_.]*[a-z_]", r"<code>\g<0></code>", escape(text))


def _charts(drawn: Figures) -> str:
    if not drawn.html:
        return "<p>There is nothing to draw yet: no step is in the journal.</p>"
    choice = "".join(
        f'<button type="button" data-axis="{name}" aria-pressed="{str(name == "samples").lower()}">{word}</button>'
        for name, word in (("samples", "samples"), ("updates", "updates"), ("time", "wall time"))
    )
    return (
        f'<nav class="bar"><span class="axis">over</span><span class="choice">{choice}</span>'
        '<button type="button" id="reset" disabled>whole run</button>'
        '<span class="how">drag across a chart to zoom; Ctrl and wheel zoom too, Shift and wheel move</span></nav>'
        "<noscript><p>The charts need JavaScript, which this page brings along; the tables do not.</p></noscript>"
        f'<div class="charts">{"".join(drawn.html)}</div>'
    )


def _section(section: Section) -> str:
    heading = f"<h2>{escape(section.title)}</h2>"
    words = f"<p>{_with_flags(section.words)}</p>" if section.words else ""
    table = _table(section.table) if section.table is not None else ""
    if section.folded and section.table is not None:
        table = f"<details><summary>{len(section.table.rows)} rows</summary>{table}</details>"
    code = f"<pre>{escape(section.code)}</pre>" if section.code else ""
    return f"<section>{heading}{words}{code}{_shares(section.shares)}{table}</section>"


def _shares(parts: Sequence[Part]) -> str:
    parts, total = [part for part in parts if part.seconds > 0], sum(part.seconds for part in parts)
    if not total:
        return ""
    spans = "".join(
        f'<span style="--colour: var(--c{at}); flex-grow: {part.seconds / total:.4f}"></span>'
        for at, part in enumerate(parts)
    )
    keys = "".join(
        f'<li><span class="mark box" style="--colour: var(--c{at})"></span>{escape(part.name)}</li>'
        for at, part in enumerate(parts)
    )
    return f'<div class="share">{spans}</div><ul class="keys">{keys}</ul>'


def _table(table: Table) -> str:
    kinds = [" w" if heading in table.words else "" for heading in table.head]
    head = "".join(
        f'<th class="{kind.strip()}">{escape(text)}</th>' for kind, text in zip(kinds, table.head, strict=True)
    )
    rows = []
    for row in table.rows:
        cells = "".join(
            f'<td class="{(kind + " long" * (len(text) > LONG)).strip()}">{escape(text)}</td>'
            for kind, text in zip(kinds, row, strict=True)
        )
        rows.append(f"<tr>{cells}</tr>")
    note = f'<p class="words">{escape(table.note)}</p>' if table.note else ""
    head = f"<thead><tr>{head}</tr></thead>" if any(text.strip() for text in table.head) else ""
    kind = "" if head else ' class="facts"'
    return f'<div class="wide-table"><table{kind}>{head}<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>{note}'
