"""A report's pictures: what each shows, drawn for light and for dark pages.

    speedup      samples/s over those of the fewest nodes, with the ideal line       a panel a mode
    efficiency   the same over the growth in nodes                                   a panel a mode
    breakdown    a step's time in parts, stacked                                     a panel a line
    target       time to target = samples needed (learning) * time a sample (machine)
    over_time    batch and metric of trainings whose batch changes

Every one has a table with the same numbers (tables.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ...terminal import count
from ..scaling.statistics import Interval, mean
from ..wording import nodes_in_words
from .canvas import COLOURS, IDEAL, MARKERS, legend, shown, title
from .history import History
from .lines import (
    Line,
    Point,
    rate,
    rate_to_target,
    samples_to_target,
    speed_up,
    time_to_target,
)
from .tables import PART_NAMES, PARTS, parts_of_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import ColorType

_FOLLOW = "follow"
PART_COLOURS = {"compute": COLOURS[0], "data": COLOURS[2], "straggler": COLOURS[3], "exposed": COLOURS[1]}


def speedup(lines: Sequence[Line]) -> Figure:
    """Plots speed-up over nodes, both axes logarithmic, so that the ideal is a straight line."""

    def panel(axes: Axes, of_mode: list[Line]) -> None:
        last = max(point.nodes for line in of_mode for point in line.having(rate))
        for first in sorted({line.having(rate)[0].nodes for line in of_mode}):
            axes.plot([first, last], [1, last / first], color=IDEAL, linestyle="--", linewidth=1, label="ideal")
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter("{x:g}")

    return _panels(lines, panel, lambda *_: 1.0, "speed-up: times the samples/s\nof the fewest nodes")


def efficiency(lines: Sequence[Line]) -> Figure:
    """Plots efficiency over nodes, in percent of the ideal."""

    def panel(axes: Axes, _: list[Line]) -> None:
        axes.axhline(100, color=IDEAL, linestyle="--", linewidth=1, label="ideal")
        axes.axhline(50, color=IDEAL, linestyle=":", linewidth=1, label="50 %")
        axes.set_ylim(bottom=0)

    return _panels(lines, panel, lambda line, nodes: 100 * line.having(rate)[0].nodes / nodes, "efficiency, %")


def _panels(
    lines: Sequence[Line],
    prepare: Callable[[Axes, list[Line]], None],
    factor: Callable[[Line, int], float],
    label: str,
) -> Figure:
    """Plots speed-ups times a factor, a panel for each mode; a variant has the same colour in all panels."""
    from matplotlib.figure import Figure

    chosen = [line for line in lines if line.having(rate)]
    modes = list(dict.fromkeys(line.mode for line in chosen))
    variants = list(dict.fromkeys(line.variant for line in chosen))
    figure = Figure(figsize=(1.2 + 3.6 * len(modes), 4.2), layout="constrained")
    panels = figure.subplots(1, len(modes), sharey=True, squeeze=False)[0]
    for axes, mode in zip(panels, modes, strict=True):
        of_mode = [line for line in chosen if line.mode == mode]
        prepare(axes, of_mode)
        for line in of_mode:
            _curve(axes, line, variants.index(line.variant), factor)
        _node_axis(axes, [point.nodes for line in of_mode for point in line.having(rate)])
        axes.set_title(mode)
        axes.grid()
    panels[0].set_ylabel(label)
    legend(figure)
    return figure


def _curve(axes: Axes, line: Line, index: int, factor: Callable[[Line, int], float]) -> None:
    having = line.having(rate)
    found = [(speed_up(line, point) or Interval(value=1)).times(factor(line, point.nodes)) for point in having]
    across = [point.nodes * 1.015**index for point in having]  # a little aside, so that bars do not cover each other
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[(index // len(COLOURS) + index) % len(MARKERS)]
    label = shown(line.variant) or "measured"
    axes.plot(across, [one.value for one in found], color=colour, marker=marker, markersize=5, label=label)
    _bars(axes, across, found, colour)


def _bars(axes: Axes, across: Sequence[float], found: Sequence[Interval], colour: ColorType) -> None:
    """Plots error bars where there are intervals."""
    for x, one in zip(across, found, strict=True):
        if one.low is not None and one.high is not None:
            reach = [[one.value - one.low], [one.high - one.value]]
            axes.errorbar([x], [one.value], reach, color=colour, linestyle="none")


def _node_axis(axes: Axes, nodes: Iterable[int]) -> None:
    """Makes the axis of nodes logarithmic, with marks at the node counts that were run, as far apart as can be read."""
    from matplotlib.ticker import NullLocator

    counts = sorted(set(nodes))
    marks, apart = counts[:1], max(0.4, math.log2(counts[-1] / counts[0]) / 8)
    for one in counts[1:]:
        if math.log2(one / marks[-1]) >= apart:
            marks.append(one)
    axes.set_xscale("log", base=2)
    axes.set_xticks(marks, [count(one) for one in marks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("nodes")


def breakdown(lines: Sequence[Line]) -> Figure:
    """Plots the parts of a step's time as stacked bars; each panel has a scale of its own, as batches differ."""
    from matplotlib.figure import Figure

    chosen = [line for line in lines if any(parts_of_step(point) for point in line.points)]
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(1.2 + 3.6 * columns, 0.7 + 3.0 * rows), layout="constrained")
    for index, line in enumerate(chosen):
        _stack(figure.add_subplot(rows, columns, index + 1), line)
    legend(figure)
    return figure


def _stack(axes: Axes, line: Line) -> None:
    found = [(count(point.nodes), parts) for point in line.points if (parts := parts_of_step(point))]
    names, below = [name for name, _ in found], [0.0] * len(found)
    for part in PARTS:
        heights = [1000 * parts[part] for _, parts in found]
        axes.bar(names, heights, 0.7, bottom=below, color=PART_COLOURS[part], label=PART_NAMES[part])
        below = [low + height for low, height in zip(below, heights, strict=True)]
    axes.set(title=title(line.name), xlabel="nodes", ylabel="time of a step, ms")
    axes.tick_params(axis="x", labelrotation=45 if len(names) > 8 else 0)
    axes.grid(axis="y")


def target(lines: Sequence[Line]) -> Figure:
    """Plots three panels of bars, grouped by node count: the first is the product of the other two."""
    from matplotlib.figure import Figure

    chosen = [line for line in lines if line.having(time_to_target)]
    scale = [line for line in chosen if line.scales]
    nodes = [count(one) for one in sorted({point.nodes for line in scale for point in line.having(time_to_target)})]
    nodes += [_FOLLOW] if len(scale) < len(chosen) else []
    figure = Figure(figsize=(max(6.4, 2 + 0.3 * len(nodes) * (len(chosen) + 1)), 7.6), layout="constrained")
    time, samples, per_thousand = figure.subplots(3, 1, sharex=True)
    _groups(time, chosen, nodes, lambda point: mean(point.values(time_to_target)))
    time.set_ylabel("time to target, s")
    _groups(samples, chosen, nodes, lambda point: mean(point.values(samples_to_target)))
    samples.set_ylabel("the learning's part:\nsamples needed")
    _groups(per_thousand, chosen, nodes, lambda point: _inverse(mean(point.values(rate_to_target)), 1000))
    per_thousand.set_ylabel("the machine's part:\ntime for 1000 samples, s")
    per_thousand.set_xticks(range(len(nodes)), nodes)
    per_thousand.set_xlabel("nodes")
    legend(figure)
    return figure


def _groups(axes: Axes, chosen: list[Line], nodes: list[str], value: Callable[[Point], Interval]) -> None:
    """Plots a bar for each line at each of its node counts; those of mode follow stand aside."""
    width = 0.8 / len(chosen)
    for index, line in enumerate(chosen):
        having = line.having(time_to_target)
        found = [value(point) for point in having]
        places = [nodes.index(count(point.nodes) if line.scales else _FOLLOW) for point in having]
        across = [place - 0.4 + width * (index + 0.5) for place in places]
        colour = COLOURS[index % len(COLOURS)]
        axes.bar(across, [one.value for one in found], 0.92 * width, color=colour, label=shown(line.name))
        _bars(axes, across, found, axes.xaxis.label.get_color())
    axes.yaxis.set_major_formatter("{x:,.10g}")
    axes.grid(axis="y")


def _inverse(one: Interval, factor: float) -> Interval:
    low, high = (None if end is None else factor / end for end in (one.high, one.low))
    return Interval(value=factor / one.value, low=low, high=high)


def over_time(found: Sequence[History]) -> Figure:
    """Plots a curve for each training; repeats share a colour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    batch, metric = figure.subplots(1, 2, sharex=True)
    kinds = list(dict.fromkeys(_kind(one) for one in found))
    for one in found:
        index = kinds.index(_kind(one))
        style = {"color": COLOURS[index % len(COLOURS)], "linewidth": 1.2, "alpha": 0.8}
        style["linestyle"] = ("-", "--", ":", "-.")[index // len(COLOURS) % 4]
        label = ", ".join(part for part in _kind(one) if part)
        times_s, sizes = [time for time, _ in one.batches], [size for _, size in one.batches]
        batch.step([*times_s, one.end_s], [*sizes, sizes[-1]], where="post", label=shown(label), **style)
        metric.plot([time for time, _ in one.metrics], [value for _, value in one.metrics], **style)
    batch.set_yscale("log", base=2)
    batch.yaxis.set_major_formatter("{x:,.0f}")
    batch.set_ylabel("global batch, samples")
    metric.set_ylabel(f"test {shown(found[0].metric)}")
    for axes in (batch, metric):
        axes.set_xlabel("time, s")
        axes.grid()
    legend(figure)
    return figure


def _kind(one: History) -> tuple[str, str]:
    """Returns the variant and the nodes of a training in words."""
    return one.cell.variant, "nodes follow" if one.cell.mode == "follow" else nodes_in_words(one.cell.nodes)
