"""What all charts of a page have in common: the range of x, the line under the pointer, colours, fonts, tools.

A glyph's column of x is ``samples``, ``updates`` or ``time``, and page.js changes from one to another. A colour is a
name, which page.css explains once for light and once for dark. Both stand in the tags of a model of Bokeh:

    {"x": {"left": "0", "right": "1"}, "colours": {"line_color": "c0"}}    left is samples0, updates0 or time0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTickFormatter,
    BoxZoomTool,
    ColumnDataSource,
    CrosshairTool,
    GlyphRenderer,
    HoverTool,
    Model,
    NumeralTickFormatter,
    Range1d,
    Span,
    WheelPanTool,
    WheelZoomTool,
)
from bokeh.plotting import figure

from . import curves
from .account import Account
from .curves import Curve
from .scales import Scale, counted, timed

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'
HEIGHT, LOW_HEIGHT = 340, 230  # pixels
LIGHT = {
    "ink": "#1b2430",
    "pale": "#596473",
    "line": "#dde2e8",
    "c0": "#0067b1",
    "c1": "#c2510c",
    "c2": "#00775a",
    "c3": "#984a8c",
    "c4": "#8a6500",
    "c5": "#3a7f9f",
}
"""The colours on white, until page.js has put in those of page.css."""


@dataclass
class Sheet:
    """Everything that all charts of a page share.

    Args:
        runs: The runs that are drawn.

    Attributes:
        scales: The axes of x by the name of their column.
        points: The points of a curve, at most.
        thinned: True where a curve has lost points.
    """

    runs: Sequence[Account]
    scales: dict[str, Scale] = field(init=False)
    points: int = field(init=False)
    thinned: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        ends = [run.records[-1] for run in self.runs]
        self.scales = {
            "samples": counted("samples", max(end["cursor"] for end in ends)),
            "updates": counted("updates", max(end["step"] for end in ends)),
            "time": timed(max(end["time_s"] for end in ends)),
        }
        self.points = max(curves.FEWEST_POINTS, curves.POINTS // len(self.runs))
        self._range = Range1d(0, self.scales["samples"].end, name="x")
        self._pointer = Span(dimension="height", line_width=1, line_alpha=0.6)
        dress(self._pointer, line_color="pale")

    def source(self, run: Account, curve: Curve, **more: np.ndarray) -> ColumnDataSource:
        """Returns a curve's points for Bokeh, in the units of the axes, and further columns as long."""
        drawn = curve.thinned(self.points) if curve.values else curve
        self.thinned |= drawn.is_thinned
        values = {name: _small(column) for name, column in (drawn.values | more).items()}
        return ColumnDataSource(self.axes(run, drawn) | values | drawn.words)

    def axes(self, run: Account, curve: Curve, suffix: str = "") -> dict[str, np.ndarray]:
        """Returns the columns of x, and the epochs."""
        columns = {"samples": curve.samples, "updates": curve.updates, "time": curve.seconds}
        found = {name + suffix: _small(column / self.scales[name].divisor) for name, column in columns.items()}
        return found | {"epoch" + suffix: _small(curve.samples / run.start["samples_per_epoch"])}

    def chart(self, label: str, *, height: int = LOW_HEIGHT, log: bool = False, **more: Any) -> figure:
        """Returns an empty chart.

        Args:
            label: The words beside the axis of y.
            height: The height in pixels.
            log: True for a logarithmic axis of y.
            more: Further arguments of Bokeh's.
        """
        drawn = figure(
            height=height,
            min_width=240,
            sizing_mode="stretch_width",
            x_range=self._range,
            y_axis_type="log" if log else "linear",
            y_axis_label=label,
            x_axis_label=self.scales["samples"].label,
            toolbar_location=None,
            tools=[
                BoxZoomTool(dimensions="width"),
                WheelPanTool(dimension="width", modifiers="shift"),
                WheelZoomTool(dimensions="width", modifiers="ctrl"),
                CrosshairTool(overlay=self._pointer),
            ],
            window_axis="x",
            background_fill_color=None,
            border_fill_color=None,
            outline_line_color=None,
            min_border_left=62,
            min_border_right=14,
            **more,
        )
        drawn.xgrid.visible = False
        dress(drawn.ygrid[0], grid_line_color="line")
        drawn.xaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
        if not log:
            drawn.yaxis.formatter = BasicTickFormatter(power_limit_high=7, power_limit_low=-6)
        for axis in (*drawn.xaxis, *drawn.yaxis):
            axis.update(axis_label_text_font=FONT, major_label_text_font=FONT, axis_label_text_font_style="normal")
            axis.update(axis_label_text_font_size="12px", major_label_text_font_size="11px", minor_tick_line_color=None)
            dress(axis, axis_line_color="line", major_tick_line_color="line")
            dress(axis, axis_label_text_color="pale", major_label_text_color="pale")
        for axis in drawn.xaxis:
            axis.name = "x"
        return drawn

    def tell(
        self,
        drawn: figure,
        renderer: GlyphRenderer,
        *more: tuple[str, str],
        mode: str = "vline",
        suffix: str = "",
    ) -> None:
        """Lets the pointer show where a point is, after further columns of it.

        Args:
            drawn: The chart.
            renderer: The points.
            more: Further columns to be shown: names, and columns with their format.
            mode: How a point is found: vline by x alone, mouse by its place.
            suffix: The end of the names of its columns of x.
        """
        where = [("epoch", "@epoch{0,0.[00]}")] if "epoch" in renderer.data_source.data else []
        for name, scale in self.scales.items():
            unit = scale.label.partition("(")[2].rstrip(")")
            where.append((name, f"@{name}{suffix}{{0,0.[000]}} {unit}".strip()))
        drawn.add_tools(HoverTool(renderers=[renderer], mode=mode, tooltips=[*more, *where], limit=1))


@dataclass(frozen=True)
class Key:
    """An entry of a legend."""

    colour: str
    """The name of its colour."""
    mark: str
    """The mark that stands for it: line, dash, dots, dot or band."""
    text: str
    """The words for it."""


@dataclass(frozen=True)
class Chart:
    """A chart, with the words around it."""

    name: str
    """The place of the page that it is for."""
    title: str
    """The words above it."""
    keys: list[Key]
    """The entries of its legend."""
    figure: figure
    """Bokeh's figure."""
    wide: bool = False
    """True where it takes the whole width of a page."""
    words: str = ""
    """A sentence below it."""


def dress(model: Model, **colours: str) -> None:
    """Gives properties of a model colours by their names."""
    model.update(**{name: LIGHT[colour] for name, colour in colours.items()})
    _tag(model, "colours", colours)


def over_x(renderer: GlyphRenderer, columns: Mapping[str, str] | None = None, **colours: str) -> GlyphRenderer:
    """Returns a renderer whose glyph follows the axis of x.

    Args:
        renderer: The renderer.
        columns: The glyph's properties of x, each with what follows the axis in its column's name; x when not given.
        colours: Its colours by name.
    """
    _tag(renderer.glyph, "x", columns if columns is not None else {"x": ""})
    dress(renderer.glyph, **colours)
    return renderer


def _tag(model: Model, name: str, content: Mapping[str, str]) -> None:
    tag = dict(model.tags[0]) if model.tags else {}
    model.tags = [tag | {name: dict(tag.get(name, {})) | dict(content)}]


def _small(column: np.ndarray) -> np.ndarray:
    """Returns seven digits of each number, which is more than a screen shows, in half of the bytes."""
    return column.astype(np.float32)
