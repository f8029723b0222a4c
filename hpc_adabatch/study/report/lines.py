"""A study's jobs joined: a line for each mode and variant, a point for each of its node counts, ratios between points.

    R(N)             samples/s of a job: batch / step time where steps were timed, the training's own where it trained
    speed-up(N)      R(N) / R(first)           first: the line's smallest node count with a number
    efficiency(N)    speed-up(N) * first / N   in strong, weak and adaptive mode alike

    T = S / R_T      time to target; S: samples needed, R_T: samples/s until there, evaluations counted in
    T(a) / T(b)      =  [S(a) / S(b)]     /  [R_T(a) / R_T(b)]
    times the time   =  learning's part   /  machine's part

The last two lines hold exactly, as means over jobs are geometric. Only jobs that are OK give numbers.

A line of mode follow has one point, at the nodes that its runs begin on: it has no speed-up, and is held against the
lines of one node count by time and node-hours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..results import CellResult
from ..scaling.statistics import Interval, ratio
from ..spec import FIXED_MODES, MODES
from ..state import State

FIXED = "fixed"  # the policy that keeps its batch, as it stands in a variant's label


def rate(job: CellResult) -> float | None:
    """Returns the samples a second over all ranks; None where they were not measured."""
    if job.wall_s is None and job.step_s and job.global_batch:
        return job.global_batch / job.step_s
    return job.samples_per_s


def rate_to_target(job: CellResult) -> float | None:
    """Returns the samples a second until the target, with all that a run does besides training."""
    return job.reached_samples / job.reached_wall_s if job.reached_samples and job.reached_wall_s else None


def time_to_target(job: CellResult) -> float | None:
    """Returns the seconds until the target; None where it was not reached."""
    return job.reached_wall_s


def run_s(job: CellResult) -> float | None:
    """Returns the seconds of a training by its own clock: until the target, or its end where there is none."""
    return job.wall_s if job.reached_wall_s is None else job.reached_wall_s


def run_with_wait_s(job: CellResult) -> float | None:
    """Returns the same with the time in the queue; None where one of them is not known."""
    seconds = run_s(job)
    return None if seconds is None or job.wait_s is None else seconds + job.wait_s


def run_node_hours(job: CellResult) -> float | None:
    """Returns the node-hours of a training by its own clock: until the target, or its end where there is none."""
    return job.run_node_hours


def samples_to_target(job: CellResult) -> float | None:
    """Returns the samples trained on until the target; None where it was not reached."""
    return job.reached_samples


@dataclass(frozen=True, kw_only=True)
class Point:
    """The cells of one node count of a line; at least one."""

    nodes: int
    """The number of nodes."""
    cells: tuple[CellResult, ...]
    """All cells of this node count, those that are not OK too."""

    @property
    def jobs(self) -> tuple[CellResult, ...]:
        """Returns the cells that are OK."""
        return tuple(cell for cell in self.cells if cell.state == State.OK)

    def values(self, value: Callable[[CellResult], float | None]) -> list[float]:
        """Returns one number for each job, without those that are missing, not finite or not above zero."""
        found = (value(job) for job in self.jobs)
        return [number for number in found if number is not None and math.isfinite(number) and number > 0]


@dataclass(frozen=True, kw_only=True)
class Line:
    """The cells of a mode and a variant over its node counts, fewest first."""

    mode: str
    """strong, weak, adaptive or follow."""
    variant: str
    """The label of the variant; empty without --vary."""
    points: tuple[Point, ...]
    """The points, fewest nodes first."""

    @property
    def scales(self) -> bool:
        """Reports whether the line has node counts to compare."""
        return self.mode != "follow"

    @property
    def name(self) -> str:
        """Returns the mode and the variant in words."""
        return f"{self.mode}, {self.variant}" if self.variant else self.mode

    def having(self, value: Callable[[CellResult], float | None]) -> list[Point]:
        """Returns the points with at least one number."""
        return [point for point in self.points if point.values(value)]


def join(results: Iterable[CellResult]) -> list[Line]:
    """Returns the lines in the order of MODES, then as their first cells come."""
    grouped: dict[tuple[str, str], dict[int, list[CellResult]]] = {}
    for cell in results:
        grouped.setdefault((cell.mode, cell.variant), {}).setdefault(cell.nodes, []).append(cell)
    lines = [
        Line(
            mode=mode,
            variant=variant,
            points=tuple(Point(nodes=nodes, cells=tuple(cells)) for nodes, cells in sorted(points.items())),
        )
        for (mode, variant), points in grouped.items()
    ]
    return sorted(lines, key=lambda line: MODES.index(line.mode))


def speed_up(line: Line, point: Point) -> Interval | None:
    """Returns R(point) over R(first); None at the first point, where it is 1 by definition, and without numbers."""
    having = line.having(rate)
    return ratio(point.values(rate), having[0].values(rate)) if point in having and point != having[0] else None


def efficiency_factor(line: Line, point: Point) -> float:
    """Returns the factor that makes an efficiency of a speed-up."""
    return line.having(rate)[0].nodes / point.nodes


@dataclass(frozen=True, kw_only=True)
class Split:
    """One point's time to target over that of another, in two parts: time = learning / machine."""

    time: Interval
    """The ratio of the seconds."""
    machine: Interval
    """The ratio of the samples a second."""
    learning: Interval
    """The ratio of the samples."""


def split(here: Point, reference: Point) -> Split | None:
    """Returns the time to target of ``here`` over that of ``reference``; None where either did not reach it."""
    if not here.values(rate_to_target) or not reference.values(rate_to_target):
        return None
    return Split(
        time=ratio(here.values(time_to_target), reference.values(time_to_target)),
        machine=ratio(here.values(rate_to_target), reference.values(rate_to_target)),
        learning=ratio(here.values(samples_to_target), reference.values(samples_to_target)),
    )


def _words(variant: str) -> set[str]:
    return set(variant.split("+")) - {""}


def keeps_batch(line: Line) -> bool:
    """Reports whether the batch of the line's trainings stays: in strong and weak mode, and where the label says so."""
    return line.mode in FIXED_MODES or FIXED in _words(line.variant)


def fixed_counterpart(line: Line, lines: Sequence[Line]) -> Line | None:
    """Returns the line that an adaptive one is held against; None where there is none.

    It keeps its batch, reached the target, and its label asks for nothing that the adaptive one's does not. Of several
    the one that shares the most with it, adaptive mode before strong before weak.
    """
    if keeps_batch(line):
        return None
    own = _words(line.variant)
    others = [
        other
        for other in lines
        if keeps_batch(other) and other.having(time_to_target) and _words(other.variant) - {FIXED} <= own
    ]
    order = ("adaptive", "strong", "weak")
    return max(
        others,
        key=lambda other: (len(_words(other.variant) & own), -order.index(other.mode)),
        default=None,
    )


def against_fixed(lines: Sequence[Line]) -> Iterator[tuple[Line, Line, int, Split]]:
    """Yields every adaptive line, the fixed one beside it, a node count of both, and how they compare there."""
    for line in lines:
        other = fixed_counterpart(line, lines)
        if other is None or not line.scales:
            continue
        references = {point.nodes: point for point in other.points}
        for point in line.points:
            found = split(point, references[point.nodes]) if point.nodes in references else None
            if found is not None:
                yield line, other, point.nodes, found


@dataclass(frozen=True, kw_only=True)
class Followed:
    """Runs whose nodes follow their batch, over those of another line on one node count."""

    line: Line
    """The line whose nodes follow."""
    other: Line
    """The line that it is held against."""
    nodes: int
    """The node count of that one."""
    time: Interval
    """The ratio of the seconds by the runs' own clocks."""
    with_wait: Interval | None
    """The ratio of the seconds with those in the queue; None where they are not known."""
    node_hours: Interval
    """The ratio of the node-hours by the runs' own clocks."""


def against_one_count(lines: Sequence[Line]) -> Iterator[Followed]:
    """Yields how each line whose nodes follow compares with each node count of the lines beside it.

    Those are the adaptive one of the same variant, and the fixed one. Where a target is to be reached, runs that did
    not reach it are left out.
    """
    to_target = any(line.having(time_to_target) for line in lines)
    for line in (line for line in lines if not line.scales):
        same = [other for other in lines if (other.mode, other.variant) == ("adaptive", line.variant)]
        fixed = fixed_counterpart(line, lines)
        for other in [*same, *([fixed] if fixed is not None else [])]:
            for point in other.points:
                found = _followed(line, other, point, to_target=to_target)
                if found is not None:
                    yield found


def _followed(line: Line, other: Line, point: Point, *, to_target: bool) -> Followed | None:
    sides = [
        [job for job in one.jobs if job.reached_wall_s is not None or not to_target] for one in (line.points[0], point)
    ]

    def compared(value: Callable[[CellResult], float | None]) -> Interval | None:
        own, theirs = ([found for job in jobs if (found := value(job))] for jobs in sides)
        return ratio(own, theirs) if own and theirs else None

    time, node_hours = compared(run_s), compared(run_node_hours)
    if time is None or node_hours is None:
        return None
    with_wait = compared(run_with_wait_s)
    return Followed(line=line, other=other, nodes=point.nodes, time=time, with_wait=with_wait, node_hours=node_hours)
