"""The sections of a report in order, each with its words, its picture and its tables.

Sections without numbers are left out, so a study with nothing in it is summary and cells alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..results import CellResult
from ..scaling.statistics import LEAST_JOBS
from . import pictures, tables
from .canvas import Draw
from .history import History
from .lines import Line, rate, time_to_target
from .tables import Table, parts_of_step

INTERVALS = (
    "Intervals, in parentheses, cover 95 %: Student's t over jobs on logarithms (Welch), as steps of one job say "
    f"little of the next job. None is given or drawn where fewer than {LEAST_JOBS} repeats are OK, on either side of a "
    "ratio."
)
SCALED = {
    "strong": "The global batch is the same on all node counts.",
    "weak": "The batch of a rank is the same on all node counts, so the global batch grows with them; speed-up is that "
    "of the samples/s.",
    "adaptive": "The recipe's own policy chooses the batch; speed-up is that of the samples/s over the whole run, the "
    "machine's part alone.",
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a report, with the function that draws it."""

    name: str
    """The name of the picture's file, without suffix."""
    says: str
    """The picture in words, for those who do not see it."""
    draw: Draw
    """The function that draws the picture."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report."""

    title: str
    """The heading."""
    words: str = ""
    """The text below the heading; may be empty."""
    picture: Picture | None = None
    """The picture; None where there is none."""
    tables: tuple[Table, ...] = ()
    """The tables below the picture."""
    code: str = ""
    """The lines of a file, shown as they are, below the tables; may be empty."""


def sections(results: Sequence[CellResult], lines: Sequence[Line], histories: Sequence[History]) -> list[Section]:
    """Returns the sections that there are numbers for; the cells themselves last."""
    found = [*_scaling(lines), *_breakdown(lines), *_target(lines), *_follow(lines), *_over_time(histories)]
    if not results:
        return found
    words = "Only cells that are OK give numbers above. Cells that are not are kept here with their reason."
    return [*found, Section(title="All cells", words=words, tables=(tables.states(results), tables.cells(results)))]


def _scaling(lines: Sequence[Line]) -> Iterator[Section]:
    having = [line for line in lines if line.having(rate) and line.scales]
    if any(len(line.having(rate)) > 1 for line in having):
        words = (
            "Speed-up is the samples/s over those of the fewest nodes with a number; efficiency is speed-up over the "
            f"growth in nodes. {INTERVALS}"
        )
        says = "Speed-up over nodes, both axes logarithmic, with the ideal line; the tables below hold its numbers."
        picture = Picture(name="speedup", says=says, draw=lambda: pictures.speedup(having))
        yield Section(title="Speed-up", words=words, picture=picture)
        says = "Efficiency in percent over nodes, with lines at 100 % and 50 %; the tables below hold its numbers."
        picture = Picture(name="efficiency", says=says, draw=lambda: pictures.efficiency(having))
        yield Section(title="Efficiency", picture=picture)
    for mode in dict.fromkeys(line.mode for line in having):
        words = (
            f"{SCALED[mode]} Step time: median over jobs, and the least and the greatest of them. Samples/s: geometric "
            "mean over jobs. Node-hours: of all cells, those that failed too."
        )
        table = tables.scaling([line for line in lines if line.mode == mode])
        yield Section(title=f"Scaling in numbers: {mode}", words=words, tables=(table,))


def _breakdown(lines: Sequence[Line]) -> Iterator[Section]:
    if not any(parts_of_step(point) for line in lines for point in line.points):
        return
    words = (
        "Means over jobs. Compute: forward, backward and optimizer, mean over ranks. Data: waiting for samples. "
        "Straggler: by which the slowest rank is behind the mean. Exposed communication: what computing does not "
        "hide of it."
    )
    says = (
        "Stacked bars of a step's time in milliseconds by part, for each node count; the table below holds its numbers."
    )
    picture = Picture(name="breakdown", says=says, draw=lambda: pictures.breakdown(lines))
    yield Section(
        title="Where the time of a step goes", words=words, picture=picture, tables=(tables.breakdown(lines),)
    )


def _target(lines: Sequence[Line]) -> Iterator[Section]:
    if not any(line.having(time_to_target) for line in lines):
        return
    words = (
        "Time to target is the samples needed (the learning's part, which the batch decides) over the samples/s (the "
        "machine's part, which nodes and batch decide). Ratios are against the fewest nodes of the same variant that "
        "reached the target. Samples/s until the target count evaluations and checkpoints in. Geometric means over "
        f"jobs, with 95 % intervals from {LEAST_JOBS} repeats on."
    )
    says = (
        "Bars of time to target, samples needed, and time for 1000 samples, by node count; a table holds its numbers."
    )
    picture = Picture(name="target", says=says, draw=lambda: pictures.target(lines))
    both = (tables.target(lines), tables.target_ratios(lines))
    yield Section(title="Time to target", words=words, picture=picture, tables=tuple(one for one in both if one.rows))
    table = tables.adaptive_against_fixed(lines)
    if table.rows:
        words = (
            "Ratios of the adaptive variant to the one held against it, at the same node count: times the time is the "
            "learning's part over the machine's part; below 1, adaptive is there sooner."
        )
        yield Section(title="Adaptive against fixed", words=words, tables=(table,))


def _follow(lines: Sequence[Line]) -> Iterator[Section]:
    table = tables.follow_against_one_count(lines)
    if table.rows:
        words = (
            "Ratios of the runs that go from job to job on the nodes that their batch is worth to the runs on one node "
            "count: below 1, following is sooner, or costs fewer node-hours. Times and node-hours are of the runs' own "
            "clocks, until the target where there is one. They stand still between two jobs: the second column adds "
            "what the jobs waited in the queue, none has what their programs take to start."
        )
        yield Section(title="Nodes that follow against one node count", words=words, tables=(table,))


def _over_time(histories: Sequence[History]) -> Iterator[Section]:
    drawn = [one for one in histories if one.metrics]
    if drawn:
        says = "Global batch and test metric of each adaptive training over time; the table below holds its numbers."
        picture = Picture(name="over_time", says=says, draw=lambda: pictures.over_time(drawn))
        yield Section(title="Batch and metric over time", picture=picture, tables=(tables.over_time(drawn),))
