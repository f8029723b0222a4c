"""A report as one HTML page that opens offline: its pictures are in it, nothing is fetched, no script runs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from .canvas import Rendered
from .findings import Remark
from .sections import Picture, Section
from .tables import Table, facts

LONG = 40  # letters, above which a cell is broken into lines
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --paper: #ffffff; --soft: #f3f5f8; --line: #d5dae1; --pale: #57606c }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --paper: #161b22; --soft: #1f2630; --line: #384250; --pale: #a3adba }
}
@media print { :root { color-scheme: light } section { break-inside: avoid } }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1.2rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
h1 { font-size: 1.7rem; margin: .2rem 0 1rem; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem }
p { max-width: 60rem; color: var(--pale); margin: .5rem 0 .8rem }
.summary { background: var(--soft); border: 1px solid var(--line); border-radius: 6px;
  padding: .4rem 1rem .4rem 1.8rem }
.summary li { margin: .45rem 0; overflow-wrap: anywhere }
.wide { overflow-x: auto; margin: .8rem 0 }
table { border-collapse: collapse; font-size: .86rem; line-height: 1.35 }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top;
  font-variant-numeric: tabular-nums }
th { font-weight: 600; vertical-align: bottom; min-width: 3.2rem; max-width: 9.5rem }
thead th { border-bottom: 2px solid var(--line) }
td { white-space: nowrap }
td.w, th.w { text-align: left }
td.long { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 18rem; max-width: 40rem }
tr.not-ok td { background: var(--soft) }
tr.not-ok td:nth-child(2) { font-weight: 600 }
pre { overflow-x: auto; background: var(--soft); border: 1px solid var(--line); padding: .6rem; font-size: .8rem }
img { display: block; max-width: max(100%, 42rem); height: auto }
"""


def page(
    title: str,
    about: Mapping[str, str],
    summary: Sequence[Remark],
    sections: Sequence[Section],
    rendered: Mapping[str, Rendered],
) -> str:
    """Returns the page as text.

    Args:
        title: The heading.
        about: Facts of the study, in the order to be shown.
        summary: The findings, a line each.
        sections: The parts of the page, in the order to be shown.
        rendered: The files of each picture, by its name.
    """
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        '<ul class="summary">',
        *(f"<li><b>{escape(remark.about)}:</b> {escape(remark.text)}</li>" for remark in summary),
        "</ul>",
        *(_section(section, rendered) for section in sections),
        *(["<section><h2>What was run</h2>", _table(facts(tuple(about.items()))), "</section>"] if about else []),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _section(section: Section, rendered: Mapping[str, Rendered]) -> str:
    return "\n".join(
        [
            f"<section><h2>{escape(section.title)}</h2>",
            f"<p>{escape(section.words)}</p>" if section.words else "",
            _picture(section.picture, rendered[section.picture.name]) if section.picture else "",
            *map(_table, section.tables),
            f"<pre>{escape(section.code)}</pre>" if section.code else "",
            "</section>",
        ]
    )


def _picture(picture: Picture, files: Rendered) -> str:
    light, dark = (f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}" for svg in (files.svg, files.dark_svg))
    return (
        f'<div class="wide"><picture><source media="screen and (prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{escape(picture.says)}"></picture></div>'
    )


def _table(table: Table) -> str:
    head = "".join(f"<th{_kind(table, column)}>{escape(text)}</th>" for column, text in enumerate(table.head))
    rows = []
    for row in table.rows:
        cells = "".join(f"<td{_kind(table, column, text)}>{escape(text)}</td>" for column, text in enumerate(row))
        bad = ' class="not-ok"' if table.head[:2] == ("cell", "state") and row[1] != "OK" else ""
        rows.append(f"<tr{bad}>{cells}</tr>")
    body = "\n".join(rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _kind(table: Table, column: int, text: str = "") -> str:
    """Returns the class of a cell: words are set to the left, and long ones may be broken into lines."""
    kinds = ["w"] * table.is_words(column) + ["long"] * (len(text) > LONG)
    return f' class="{" ".join(kinds)}"' if kinds else ""
