"""The charts of a page as HTML, and the scripts that draw them. Bokeh is imported here, when a page is wanted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from .account import Account

if TYPE_CHECKING:
    from .sheet import Chart

NEEDS = "bokeh>=3.9"
"""What the extra ``report`` of setup.py brings."""


@dataclass(frozen=True)
class Figures:
    """The charts of a page."""

    html: list[str]
    """A figure for each of them."""
    scripts: list[str]
    """The scripts that draw them, in the order to be run."""
    axes: str
    """The labels and ends of the axes of x, as JSON for page.js."""
    thinned: bool
    """True where points were left out."""


def figures(runs: Sequence[Account]) -> Figures:
    """Returns the charts of a run, or of several.

    Raises:
        InputError: Bokeh is not installed, or too old.
    """
    try:
        from bokeh.embed import components
        from bokeh.resources import Resources

        from .charts import charts
        from .sheet import Sheet
    except ImportError as error:
        given = f"a page, but Bokeh, which draws it, is missing ({error})"
        raise InputError("html", given, "an environment with Bokeh", f"pip install '{NEEDS}'") from error
    sheet = Sheet(runs)
    drawn = charts(sheet)
    if not drawn:
        return Figures(html=[], scripts=[], axes="{}", thinned=False)
    named = {f"{chart.name}{at}": chart.figure for at, chart in enumerate(drawn)}
    script, places = components(named, wrap_script=False)
    axes = {name: {"label": scale.label, "end": scale.end} for name, scale in sheet.scales.items()}
    return Figures(
        html=[_figure(chart, place) for chart, place in zip(drawn, places.values(), strict=True)],
        scripts=[
            *Resources(mode="inline", components=["bokeh"], minified=True).js_raw,
            script,
            Path(__file__).with_name("page.js").read_text(encoding="utf-8"),
        ],
        axes=json.dumps(axes),
        thinned=sheet.thinned,
    )


def _figure(chart: Chart, place: str) -> str:
    keys = "".join(
        f'<li><span class="mark {key.mark}" style="--colour: var(--{key.colour})"></span>{escape(key.text)}</li>'
        for key in chart.keys
    )
    words = f'<p class="words">{escape(chart.words)}</p>' if chart.words else ""
    return (
        f'<figure class="chart{" wide" if chart.wide else ""}"><h3>{escape(chart.title)}</h3>'
        f'<ul class="keys">{keys}</ul><div class="place" style="--height: {chart.figure.height}px">{place}</div>'
        f"{words}</figure>"
    )
