"""A report's tables as rows of text, and as markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from ...terminal import count, number
from ..results import CellResult
from ..scaling.statistics import Interval, mean
from ..state import State
from ..wording import interval, jobs_spread
from .history import History
from .lines import (
    Line,
    Point,
    Split,
    against_fixed,
    against_one_count,
    efficiency_factor,
    rate,
    rate_to_target,
    run_node_hours,
    samples_to_target,
    speed_up,
    split,
    time_to_target,
)

PARTS = ("compute", "data", "straggler", "exposed")
"""The parts of a step; each is the name of a field of CellResult without its ``_s``."""
PART_NAMES = {
    "compute": "compute",
    "data": "data",
    "straggler": "straggler",
    "exposed": "exposed communication",
}
SPLIT = ("times the time", "machine's part: times the samples/s", "learning's part: times the samples")
OVER_TIME = "global batch, samples, from a time on"
NODES_OVER_TIME = "nodes, from a time on"
_WORDS = (
    "mode",
    "variant",
    "cell",
    "state",
    "reason",
    "job ids",
    "fact",
    "",
    "held against",
    OVER_TIME,
    NODES_OVER_TIME,
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text; every column of numbers has its unit in the head."""

    head: tuple[str, ...]
    """The headings of the columns."""
    rows: tuple[tuple[str, ...], ...]
    """The rows, one text for each column."""

    def is_words(self, column: int) -> bool:
        """Reports whether a column holds words, which are set to the left; numbers are set to the right."""
        return self.head[column] in _WORDS


def markdown(table: Table) -> str:
    """Returns the table in GitHub's markdown."""
    rule = ["---" if table.is_words(column) else "---:" for column in range(len(table.head))]
    rows = [map(escaped, table.head), rule, *(map(escaped, row) for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def escaped(text: str) -> str:
    """Returns a text that markdown shows as it is, on one line."""
    return re.sub(r"([\\`*<>\[\]|])", r"\\\1", " ".join(text.split()))


def without_empty(table: Table) -> Table:
    """Returns the table without the columns that are empty in every row."""
    kept = [column for column in range(len(table.head)) if any(row[column] for row in table.rows)]
    return Table(
        head=tuple(table.head[column] for column in kept),
        rows=tuple(tuple(row[column] for column in kept) for row in table.rows),
    )


def facts(about: Sequence[tuple[str, str]]) -> Table:
    """Returns the table of what was run, a line for each fact."""
    return Table(head=("fact", ""), rows=tuple(fact for fact in about if fact[1]))


def states(results: Sequence[CellResult]) -> Table:
    """Returns the table of how many cells are in which state; OK first."""
    found = Counter(cell.state for cell in results)
    order = sorted(found, key=lambda state: (state != State.OK, list(State).index(state)))
    return Table(head=("state", "cells"), rows=tuple((state, count(found[state])) for state in order))


def scaling(lines: Sequence[Line]) -> Table:
    """Returns the table of speed-up and efficiency of a mode's lines; points without a job that is OK stay, empty."""
    head = (
        *("variant", "nodes", "ranks", "repeats, OK of all", "global batch, samples", "step time, ms"),
        *("samples/s", "speed-up, times", "efficiency, %", "node-hours"),
    )
    rows = [_scaling_row(line, point) for line in lines for point in line.points]
    return without_empty(Table(head=head, rows=tuple(rows)))


def _scaling_row(line: Line, point: Point) -> tuple[str, ...]:
    rates = point.values(rate)
    found = speed_up(line, point)
    if found is None and rates:  # the line's first point
        found = Interval(value=1.0)
    hours = [cell.node_hours for cell in point.cells if cell.node_hours is not None]
    return (
        line.variant,
        count(point.nodes),
        count(point.cells[0].ranks),
        f"{len(point.jobs)} of {len(point.cells)}",
        count(next((cell.global_batch for cell in point.cells if cell.global_batch), None)),
        jobs_spread(point.values(lambda job: job.step_s), 1000),
        interval(mean(rates)) if rates else "",
        interval(found),
        interval(found.times(100 * efficiency_factor(line, point))) if found else "",
        number(sum(hours)) if hours else "",
    )


def parts_of_step(point: Point) -> dict[str, float] | None:
    """Returns the seconds of a step by part, mean over jobs; None where no job has all parts."""
    values = {name: _of_part(name) for name in PARTS}
    jobs = [job for job in point.jobs if all(value(job) is not None for value in values.values())]
    return {name: fmean(value(job) or 0.0 for job in jobs) for name, value in values.items()} if jobs else None


def _of_part(name: str) -> Callable[[CellResult], float | None]:
    return lambda job: getattr(job, f"{name}_s")


def breakdown(lines: Sequence[Line]) -> Table:
    """Returns the table of the parts of a step's time, mean over jobs."""
    head = (
        *("mode", "variant", "nodes"),
        *(f"{PART_NAMES[name]}, ms" for name in PARTS),
        *(f"{PART_NAMES[name]}, %" for name in PARTS),
        "allreduce alone, ms",
    )
    rows = []
    for line in lines:
        for point in line.points:
            parts = parts_of_step(point)
            if parts is None:
                continue
            whole = sum(parts.values()) or 1.0
            alone = point.values(lambda job: job.allreduce_s)
            rows.append(
                (
                    *(line.mode, line.variant, count(point.nodes)),
                    *(number(1000 * seconds) for seconds in parts.values()),
                    *(f"{100 * seconds / whole:.1f}" for seconds in parts.values()),
                    number(1000 * fmean(alone)) if alone else "",
                )
            )
    return without_empty(Table(head=head, rows=tuple(rows)))


def target(lines: Sequence[Line]) -> Table:
    """Returns the table of time to target, and what it is made of."""
    head = (
        *("mode", "variant", "nodes", "repeats, reached of trained", "time to target, s"),
        *("samples needed, thousands", "samples/s until there", "updates", "node-hours a run"),
    )
    rows = []
    for line in lines:
        for point in line.having(time_to_target):
            seconds, samples = point.values(time_to_target), point.values(samples_to_target)
            rows.append(
                (
                    *(line.mode, line.variant, nodes_of(line, point), f"{len(seconds)} of {len(point.jobs)}"),
                    *(interval(mean(seconds)), interval(mean(samples).times(1e-3))),
                    interval(mean(point.values(rate_to_target))),
                    jobs_spread(point.values(lambda job: job.reached_updates)),
                    _hours_to_target(point),
                )
            )
    return without_empty(Table(head=head, rows=tuple(rows)))


def nodes_of(line: Line, point: Point) -> str:
    """Returns the node count of a point; of runs whose nodes follow their batch, that from which they began."""
    return count(point.nodes) if line.scales else f"from {count(point.nodes)} on"


def _hours_to_target(point: Point) -> str:
    reached = [job for job in point.jobs if job.reached_wall_s]
    hours = [found for job in reached if (found := run_node_hours(job))]
    return number(mean(hours).value) if hours else ""


def target_ratios(lines: Sequence[Line]) -> Table:
    """Returns the table of time to target over that of the line's first point, in its two parts."""
    having = [(line, line.having(time_to_target)) for line in lines]
    rows = [
        (line.mode, line.variant, count(point.nodes), count(points[0].nodes), *_split(found))
        for line, points in having
        for point in points[1:]
        if (found := split(point, points[0]))
    ]
    return without_empty(Table(head=("mode", "variant", "nodes", "over nodes", *SPLIT), rows=tuple(rows)))


def adaptive_against_fixed(lines: Sequence[Line]) -> Table:
    """Returns the table of time to target of adaptive lines over that of fixed ones, at the same node counts."""
    rows = [(line.name, other.name, count(nodes), *_split(found)) for line, other, nodes, found in against_fixed(lines)]
    return Table(head=("variant", "held against", "nodes", *SPLIT), rows=tuple(rows))


def follow_against_one_count(lines: Sequence[Line]) -> Table:
    """Returns the table of time and node-hours of runs whose nodes follow over those on one node count."""
    rows = tuple(
        (
            *(found.line.name, found.other.name, count(found.nodes)),
            *(interval(found.time), interval(found.with_wait), interval(found.node_hours)),
        )
        for found in against_one_count(lines)
    )
    times = ("times the time", "times the time, with the queue's", "times the node-hours")
    return without_empty(Table(head=("variant", "held against", "nodes", *times), rows=rows))


def _split(found: Split) -> tuple[str, ...]:
    return interval(found.time), interval(found.machine), interval(found.learning)


def over_time(found: Sequence[History]) -> Table:
    """Returns the table of batch and metric over time, one row for each training."""
    head = ("cell", OVER_TIME, NODES_OVER_TIME, "best metric", "last metric", "time, s")
    rows = []
    for one in found:
        batches = ", ".join(f"{count(batch)} from {number(time_s)} s" for time_s, batch in one.batches)
        per_node = one.cell.ranks // one.cell.nodes
        nodes = [f"{count(ranks // per_node)} from {number(time_s)} s" for time_s, ranks in one.ranks]
        ends = (_metric(one.metric, value) for value in (one.best, one.last))
        follows = one.cell.mode == "follow"
        rows.append((one.cell.cell, batches, ", ".join(nodes) if follows else "", *ends, number(one.end_s)))
    return without_empty(Table(head=head, rows=tuple(rows)))


def _metric(name: str, value: float | None) -> str:
    return "" if value is None else f"{name} {number(value)}"


def cells(results: Sequence[CellResult]) -> Table:
    """Returns the table of all cells; those that are not OK have their reason."""
    head = (
        *("cell", "state", "reason", "nodes", "ranks", "step time, ms", "samples/s", "run, s", "metric at the end"),
        *("time to target, s", "node-hours", "attempts", "queued, s", "job ids"),
    )
    rows = [
        (
            *(cell.cell, cell.state, cell.reason, count(cell.nodes), count(cell.ranks)),
            *(number(None if cell.step_s is None else 1000 * cell.step_s), number(cell.samples_per_s)),
            *(number(cell.wall_s), _metric(cell.metric, cell.value), number(cell.reached_wall_s)),
            *(number(cell.node_hours), count(cell.attempts), number(cell.wait_s), cell.job_ids),
        )
        for cell in results
    ]
    return without_empty(Table(head=head, rows=tuple(rows)))
