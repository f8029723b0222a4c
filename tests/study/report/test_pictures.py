"""Pictures: what is drawn is what the tables say."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import imread

from hpc_adabatch.study.report import canvas, pictures
from hpc_adabatch.study.report.canvas import render
from hpc_adabatch.study.report.history import histories
from hpc_adabatch.study.report.lines import Line, join, rate, speed_up
from hpc_adabatch.study.report.tables import parts_of_step
from hpc_adabatch.study.results import CellResult

pytestmark = pytest.mark.long

Drawn = Callable[[list[Line]], Figure]
OF_LINES: list[Drawn] = [pictures.speedup, pictures.efficiency, pictures.breakdown, pictures.target]
ODD = ["$x_{", "_hidden", "<svg>&\"'", "tab\tand\x1b[31m bell\x07", "ñ", "long-" * 12]


def bars(axes: Axes) -> list[ErrorbarContainer]:
    return [one for one in axes.containers if isinstance(one, ErrorbarContainer)]


def test_the_curves_are_the_speed_ups(results: list[CellResult]) -> None:
    lines = join(results)
    strong = next(axes for axes in pictures.speedup(lines).axes if axes.get_title() == "strong")
    ideal, curve = strong.lines[:2]
    assert (strong.get_xscale(), strong.get_yscale()) == ("log", "log")
    assert list(ideal.get_ydata()) == [1, 8]
    expected = [1.0] + [found.value for point in lines[0].points if (found := speed_up(lines[0], point))]
    assert list(curve.get_ydata()) == pytest.approx(expected)


def test_bars_are_drawn_where_there_is_an_interval_and_nowhere_else(results: list[CellResult]) -> None:
    lines = join(results)
    due = [found for line in lines for point in line.having(rate) if (found := speed_up(line, point))]
    drawn = sum(len(bars(axes)) for axes in pictures.efficiency(lines).axes)
    assert drawn == sum(found.low is not None for found in due) == 7


@pytest.mark.parametrize("draw", OF_LINES)
def test_no_bar_under_three_repeats(draw: Drawn, few: list[CellResult]) -> None:
    assert not [bar for axes in draw(join(few)).axes for bar in bars(axes)]


def test_stacks_are_as_high_as_the_step_takes(results: list[CellResult]) -> None:
    lines = join(results)
    for axes, line in zip(pictures.breakdown(lines).axes, lines, strict=False):
        stacks = [one for one in axes.containers if isinstance(one, BarContainer)]
        heights = np.array([[bar.get_height() for bar in one] for one in stacks]).sum(axis=0)
        assert list(heights) == pytest.approx([1000 * sum((parts_of_step(p) or {}).values()) for p in line.points])


def test_time_to_target_is_the_product_of_the_two_panels_below(results: list[CellResult]) -> None:
    time, samples, per_thousand = (
        np.array([bar.get_height() for one in axes.containers if isinstance(one, BarContainer) for bar in one])
        for axes in pictures.target(join(results)).axes
    )
    assert len(time) == 8
    assert time == pytest.approx(samples * per_thousand / 1000)


def test_batch_and_metric_over_time(results: list[CellResult], journal: object) -> None:
    found = histories(results, journal)  # type: ignore[arg-type]
    batch, metric = pictures.over_time(found).axes
    assert len(batch.lines) == len(metric.lines) == len(found)
    grown = next(index for index, one in enumerate(found) if one.cell.variant == "big-batch")
    assert list(batch.lines[grown].get_ydata()) == [256, 512, 1024, 1600, 1600]
    assert batch.lines[grown].get_xdata()[-1] == found[grown].end_s


@pytest.mark.parametrize("draw", OF_LINES)
def test_any_name_can_be_drawn_and_each_is_in_the_legend(draw: Drawn, results: list[CellResult]) -> None:
    lines = join(replace(cell, variant=name) for cell in results for name in ODD if cell.repeat == 1)
    figure = draw(lines)
    if draw is not pictures.breakdown:  # its titles are the names
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert len([text for text in texts if text.split(", ")[-1] not in ("ideal", "50 %")]) >= len(ODD)
    ElementTree.fromstring(render(lambda: figure).svg)


def test_the_dark_picture_is_the_one_drawn_with_light_ink_on_dark_paper(
    results: list[CellResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    light = render(lambda: pictures.speedup(join(results)))
    dark_svg = light.dark_svg
    assert imread(io.BytesIO(light.png))[0, 0, :3].mean() == 1
    for colours in (canvas.INK, canvas.PAPER):
        monkeypatch.setitem(colours, "light", colours["dark"])
    drawn = render(lambda: pictures.speedup(join(results)))
    assert imread(io.BytesIO(drawn.png))[0, 0, :3].mean() < 0.15
    one, other = (re.sub(rb"\b[a-z][0-9a-f]{10}\b", b"id", svg) for svg in (dark_svg, drawn.svg))
    assert one == other


def test_the_same_picture_twice_is_the_same_file(results: list[CellResult]) -> None:
    made = [render(lambda: pictures.breakdown(join(results))) for _ in range(2)]
    assert made[0] == made[1]


def test_long_names_that_differ_in_the_middle_are_told_apart(results: list[CellResult]) -> None:
    """The legend has each label once: two names that were shortened to the same became one curve's."""
    names = [f"{'optimizer-lars+' * 2}lr-{rate}{'+seed-1234' * 2}" for rate in ("0.1", "0.2")]
    lines = join(replace(cell, variant=name) for cell in results for name in names if cell.mode == "strong")
    assert [text.get_text() for text in pictures.speedup(lines).legends[0].get_texts()] == ["ideal", *names]
