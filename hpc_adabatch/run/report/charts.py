"""The charts of a page, drawn by Bokeh: what is drawn comes from curves.py, and nothing here computes a result."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from bokeh.models import (
    BasicTickFormatter,
    FixedTicker,
    NumeralTickFormatter,
    Range1d,
    Span,
)
from bokeh.plotting import figure

from . import curves
from .account import Account
from .curves import Curve
from .scales import decades, powers
from .sheet import HEIGHT, Chart, Key, Sheet, dress, over_x
from .trust_chart import trust_chart

COLOURS = ("c0", "c1", "c2", "c3", "c4", "c5")
"""The colours of runs in a comparison; the seventh run has the first one again, with dashes."""
NEAR = {"hit_dilation": 3.0}  # a dot is pointed at from so many times its radius
MANY_CHANGES = 300  # of the batch, which would hide it under their dots
FEW_POINTS = 60  # which are shown as dots too
LOWEST = 150  # pixels, for a line that is level
STEEP, VERY_STEEP = 30.0, 1e6  # largest / smallest, from which on an axis is logarithmic; and has powers of ten
SPEED = "Means over stretches of steps, without evaluations, restarts and ends of epochs."
ROOM = 1.5  # above and below, on a logarithmic axis


def charts(sheet: Sheet) -> list[Chart]:
    """Returns the charts of a page, in the order to be shown; those of which nothing was recorded are left out."""
    metric = sheet.runs[0].start["metric"]
    if not any(run.records[-1]["cursor"] for run in sheet.runs):
        return []
    if len(sheet.runs) == 1:
        (run,) = sheet.runs
        drawn = [
            _batch_and_noise(sheet, run),
            _losses(sheet, run),
            _compared(sheet, "metric", f"Test {metric}", str(metric), curves.evaluation),
            _compared(sheet, "rate", "Learning rate", "learning rate", curves.rate, stepped=True),
            _compared(sheet, "speed", "Throughput", "samples per second", curves.speed),
            trust_chart(sheet, run),
        ]
    else:
        drawn = [
            _compared(sheet, "batch", "Global batch", "samples", curves.batch, stepped=True, doubling=True),
            _compared(sheet, "metric", f"Test {metric}", str(metric), curves.evaluation),
            _compared(sheet, "loss", "Test loss", "loss", curves.evaluation),
            _compared(sheet, "loss", "Training loss", "loss", curves.training_loss),
            _compared(sheet, "rate", "Learning rate", "learning rate", curves.rate, stepped=True),
            _compared(sheet, "speed", "Throughput", "samples per second", curves.speed),
        ]
    return [chart for chart in drawn if chart is not None]


def _batch_and_noise(sheet: Sheet, run: Account) -> Chart:
    """Draws what the batch did, and why: the noise scale around it, and what the rule asked for."""
    batch, noise, asked = curves.batch(run), curves.noise(run), curves.asked(run)
    low, high = _limits(run, batch, noise, asked)
    plain = not len(noise) and batch.values["batch"].min() == batch.values["batch"].max()
    drawn = sheet.chart("samples", height=LOWEST if plain else HEIGHT, log=True, y_range=Range1d(low, high))
    drawn.yaxis.ticker = FixedTicker(ticks=powers(low * ROOM, high / ROOM))
    drawn.yaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
    keys, words = [Key("c0", "line", "global batch")], ""
    if len(noise):
        keys += _draw_noise(sheet, run, drawn, noise, high)
        if np.isnan(noise.values["high"]).any():
            words = "A band that reaches the top has no upper end: the signal could not be told from zero."
    if len(asked):
        source = sheet.source(run, asked)
        dots = over_x(
            drawn.scatter("samples", "asked", source=source, size=4, line_color=None, **NEAR), fill_color="c2"
        )
        sheet.tell(drawn, dots, ("asked for", "@asked{0,0.[0]}"), mode="mouse")
        keys.append(Key("c2", "dot", "batch that the rule asked for"))
    maximum = run.start.get("max_global_batch")
    if maximum is not None and low < maximum < high:
        limit = Span(location=maximum, dimension="width", line_dash=[6, 4], line_width=1)
        dress(limit, line_color="pale")
        drawn.add_layout(limit)
        keys.append(Key("pale", "dash", f"maximum {maximum:,}"))
    source = sheet.source(run, batch)
    over_x(drawn.step("samples", "batch", source=source, mode="after", line_width=2.5), line_color="c0")
    if len(source.data["batch"]) <= MANY_CHANGES:
        dots = over_x(
            drawn.scatter("samples", "batch", source=source, size=6, line_color=None, **NEAR), fill_color="c0"
        )
        sheet.tell(drawn, dots, ("global batch", "@batch{0,0}"), ("why", "@reason"), mode="mouse")
    _mark_restarts(sheet, run, drawn, keys)
    title = "Global batch and noise scale" if len(noise) else "Global batch"
    return Chart("batch", title, keys, drawn, wide=True, words=words)


def _draw_noise(sheet: Sheet, run: Account, drawn: figure, noise: Curve, high: float) -> list[Key]:
    """Draws the noise scale and its interval; one without upper end reaches the top. Returns their keys."""
    ends = noise.thinned(sheet.points)
    sheet.thinned |= ends.is_thinned
    ends = ends.only(np.flatnonzero(~np.isnan(ends.values["low"])))
    top = np.where(np.isnan(ends.values["high"]), high, ends.values["high"])
    source = sheet.source(run, ends, top=np.minimum(top, high))
    over_x(drawn.varea("samples", "low", "top", source=source, fill_alpha=0.16), fill_color="c1")
    line = over_x(drawn.line("samples", "noise", source=source, line_width=1.5), line_color="c1")
    interval = ("95 % interval", "@low{0,0.[0]} to @high{0,0.[0]}")
    sheet.tell(drawn, line, ("noise scale", "@noise{0,0.[0]}"), interval)
    return [Key("c1", "line", "noise scale"), Key("c1", "band", "its 95 % interval")]


def _limits(run: Account, batch: Curve, noise: Curve, asked: Curve) -> tuple[float, float]:
    """Returns the range of y: all batches, and nearly all of what was measured."""
    low, high = [float(batch.values["batch"].min())], [float(batch.values["batch"].max())]
    for column in (noise.values["noise"], asked.values["asked"]):
        finite = column[column > 0]
        if len(finite):
            low.append(float(np.quantile(finite, 0.02)))
            high.append(float(np.quantile(finite, 0.98)))
    maximum = run.start.get("max_global_batch")
    if maximum is not None and max(high) >= maximum / 2:
        high.append(maximum)
    return max(min(low), 1e-3) / ROOM, max(high) * ROOM


def _losses(sheet: Sheet, run: Account) -> Chart | None:
    trained, tested = curves.training_loss(run), curves.evaluation(run)
    drawn, keys = _figure_of_losses(sheet, [trained.values["loss"], tested.values["loss"]]), []
    if np.isfinite(trained.values["loss"]).any():
        line = drawn.line("samples", "loss", source=sheet.source(run, trained), line_width=1.5)
        sheet.tell(drawn, over_x(line, line_color="c5"), ("training loss", "@loss{0.[0000]}"))
        keys.append(Key("c5", "line", "training, mean between two records"))
    if np.isfinite(tested.values["loss"]).any():
        source = sheet.source(run, tested)
        over_x(drawn.line("samples", "loss", source=source, line_width=2), line_color="c1")
        dots = over_x(drawn.scatter("samples", "loss", source=source, size=5, line_color=None, **NEAR), fill_color="c1")
        sheet.tell(drawn, dots, ("test loss", "@loss{0.[0000]}"))
        keys.append(Key("c1", "line", "test"))
    _mark_restarts(sheet, run, drawn, keys)
    return Chart("loss", "Loss", keys, drawn) if drawn.renderers else None


def _compared(
    sheet: Sheet,
    column: str,
    title: str,
    label: str,
    curve_of: Callable[[Account], Curve],
    *,
    stepped: bool = False,
    doubling: bool = False,
) -> Chart | None:
    """Draws a line for each run; None where no run has a number for it.

    Args:
        sheet: What the charts share.
        column: The column of the curve.
        title: The title of the chart.
        label: The words beside the axis of y.
        curve_of: Returns the curve of a run.
        stepped: True for what holds until the next point.
        doubling: True for an axis whose ticks are powers of two.
    """
    found = [(run, curve_of(run)) for run in sheet.runs]
    columns = [curve.values[column] for _, curve in found]
    finite = np.concatenate([values[np.isfinite(values)] for values in columns])
    if not len(finite):
        return None
    drawn = _figure_of_losses(sheet, columns) if column == "loss" else sheet.chart(label, log=doubling)
    if doubling:
        drawn.height = HEIGHT
        drawn.y_range = Range1d(finite.min() / ROOM, finite.max() * ROOM)
        drawn.yaxis.ticker = FixedTicker(ticks=powers(finite.min(), finite.max()))
    if doubling or column == "speed":
        drawn.yaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
    if column in ("speed", "rate"):
        drawn.y_range.start = 0
    several = len(found) > 1
    keys = [
        _draw_line(
            sheet, drawn, run, curve, column, title, colour, stepped=stepped, dotted=curve_of is curves.evaluation
        )
        for (run, curve), colour in zip(found, itertools.cycle(COLOURS), strict=False)
        if np.isfinite(curve.values[column]).any()
    ]
    if not several:
        keys.clear()  # a chart with one line needs none
        _mark_restarts(sheet, found[0][0], drawn, keys)
    return Chart(column, title, keys, drawn, wide=doubling, words=SPEED if column == "speed" else "")


def _draw_line(
    sheet: Sheet,
    drawn: figure,
    run: Account,
    curve: Curve,
    column: str,
    title: str,
    colour: str,
    *,
    stepped: bool,
    dotted: bool,
) -> Key:
    """Draws a run's line, with dots where it has few points. Returns its key."""
    dash = "solid" if sheet.runs.index(run) < len(COLOURS) else "dashed"
    source = sheet.source(run, curve)
    look = {"source": source, "line_width": 2, "line_dash": dash, "name": run.label}
    points = drawn.step("samples", column, mode="after", **look) if stepped else drawn.line("samples", column, **look)
    over_x(points, line_color=colour)
    if dotted and len(curve) <= FEW_POINTS:
        points = drawn.scatter("samples", column, source=source, size=5, line_color=None, name=run.label, **NEAR)
        over_x(points, fill_color=colour)
    several = len(sheet.runs) > 1
    named = [("run", "$name")] if several else []
    told = (title.lower(), f"@{column}{{0,0.[000000]}}")
    sheet.tell(drawn, points, *named, told, mode="mouse" if several else "vline")
    return Key(colour, "line" if dash == "solid" else "dash", run.label)


def _mark_restarts(sheet: Sheet, run: Account, drawn: figure, keys: list[Key]) -> None:
    """Draws a line where the run went on from a checkpoint."""
    found = curves.restarts(run)
    if len(found):
        lines = drawn.vspan("samples", source=sheet.source(run, found), line_dash=[2, 4], line_width=1, line_alpha=0.7)
        over_x(lines, line_color="pale")
        lines.level = "underlay"
        keys.append(Key("pale", "dots", f"{len(found)} restart{'s' if len(found) > 1 else ''}"))


def _figure_of_losses(sheet: Sheet, columns: Sequence[np.ndarray]) -> figure:
    """Returns an empty chart for losses, whose axis suits their range."""
    values = np.concatenate([values[np.isfinite(values)] for values in columns])
    steep = values.max() / values.min() if len(values) and values.min() > 0 else 0.0
    drawn = sheet.chart("loss", log=steep > STEEP)
    if STEEP < steep < VERY_STEEP:  # else Bokeh's own powers of ten, written as such
        drawn.yaxis.ticker = FixedTicker(ticks=decades(values.min(), values.max()))
        drawn.yaxis.formatter = BasicTickFormatter(power_limit_high=7, power_limit_low=-6)
    return drawn
