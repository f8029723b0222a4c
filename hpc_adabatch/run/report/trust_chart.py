"""The chart of the trust ratios: a row of cells for each layer, a column for each stretch of the run."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, LinearColorMapper, Range1d

from ...terminal import number
from . import curves
from .account import Account
from .curves import Trust
from .sheet import Chart, Sheet, over_x

MANY_LAYERS = 40  # of which the names would not stand below each other


def trust_chart(sheet: Sheet, run: Account) -> Chart | None:
    """Draws a row of cells for each layer, the lighter the larger its ratio; None where none was recorded."""
    found = curves.trust(run)
    if found is None or not (found.ratios > 0).any():
        return None
    return _cells(sheet, run, found)


def _cells(sheet: Sheet, run: Account, found: Trust) -> Chart:
    layers, stretches = found.ratios.shape
    rows, columns = np.repeat(np.arange(layers), stretches), np.tile(np.arange(stretches), layers)
    edges = sheet.axes(run, found.edges)
    del edges["epoch"]
    ratios = found.ratios.ravel()  # (layers x stretches,)
    logs = np.log10(np.where(ratios > 0, ratios, np.nan))
    sides = {f"{name}0": edge[columns] for name, edge in edges.items()}
    sides |= {f"{name}1": edge[columns + 1] for name, edge in edges.items()}
    cells = {"top": layers - rows, "bottom": layers - rows - 1, "log": logs, "ratio": ratios}
    names = [found.layers[row] for row in rows]
    source = ColumnDataSource(
        sides | {name: cell.astype(np.float32) for name, cell in cells.items()} | {"layer": names}
    )
    drawn = sheet.chart("layer", height=min(620, 90 + 18 * layers), y_range=Range1d(0, layers))
    low, high = float(np.nanmin(logs)), float(np.nanmax(logs))
    mapper = LinearColorMapper(
        "Cividis256", low=low, high=high if high > low else low + 1, nan_color="rgba(0, 0, 0, 0)"
    )
    quads = drawn.quad(
        "samples0",
        "samples1",
        "top",
        "bottom",
        source=source,
        line_color=None,
        fill_color={"field": "log", "transform": mapper},
    )
    over_x(quads, {"left": "0", "right": "1"})
    sheet.tell(drawn, quads, ("layer", "@layer"), ("trust ratio", "@ratio{0.[000000]}"), mode="mouse", suffix="1")
    if layers <= MANY_LAYERS:
        drawn.yaxis.ticker = FixedTicker(ticks=[layers - row - 0.5 for row in range(layers)])
        drawn.yaxis.major_label_overrides = {layers - row - 0.5: _short(name) for row, name in enumerate(found.layers)}
    else:
        drawn.yaxis.major_label_text_font_size = "0px"
    smallest, largest = number(10**low), number(10**high)
    words = (
        f"Medians over stretches of the run, from {smallest} (dark) to {largest} (bright), on a logarithmic scale; "
        f"{layers} layers, the first one on top."
    )
    return Chart("trust", "Trust ratios by layer", [], drawn, wide=True, words=words)


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"…{name[-27:]}"
