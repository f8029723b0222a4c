"""The summary of a report: what a study says, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ...terminal import count, number
from ..results import CellResult
from ..scaling.statistics import LEAST_JOBS, mean
from ..state import State
from ..wording import interval, listed, nodes_in_words
from .lines import (
    Line,
    Point,
    Split,
    against_fixed,
    against_one_count,
    efficiency_factor,
    rate,
    speed_up,
    split,
    time_to_target,
)
from .tables import PART_NAMES, parts_of_step, states

WORTH = 0.5
"""The efficiency above which more nodes count as worth it."""


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Sentences about one thing."""

    about: str
    """The thing that the text is about, such as a mode."""
    text: str
    """Whole sentences."""


def summary(results: Sequence[CellResult], lines: Sequence[Line]) -> list[Remark]:
    """Returns what a study says, most important first; at least one remark."""
    if not results:
        return [Remark(about="Cells", text="The study has none yet: there is nothing to report.")]
    said = [Remark(about="Cells", text=_states(results))]
    if not any(cell.state == State.OK for cell in results):
        text = "No cell is OK, so there are none; every cell is listed below with its state and reason."
        return [*said, Remark(about="Numbers", text=text)]
    said += [remark for line in lines if line.scales for remark in _scaling(line)]
    said += [remark for line in lines for remark in _target(line)]
    return [*said, *_against_fixed(lines), *_follow(lines), *_unreached(lines), *_few(lines)]


def _states(results: Sequence[CellResult]) -> str:
    found = [f"{number_of} {state}" for state, number_of in states(results).rows]
    hours = [cell.node_hours for cell in results if cell.node_hours is not None]
    used = f" {number(sum(hours))} node-hours were used." if hours else ""
    return f"{listed(found)}, of {count(len(results))}.{used}"


def last_worth_it(line: Line) -> Point | None:
    """Returns the largest node count with an efficiency above one half, the first having 1; None without numbers."""
    having = line.having(rate)
    worth = having[:1]
    for point in having[1:]:
        found = speed_up(line, point)
        if found and found.value * efficiency_factor(line, point) > WORTH:
            worth.append(point)
    return worth[-1] if worth else None


def _scaling(line: Line) -> Iterator[Remark]:
    point, having = last_worth_it(line), line.having(rate)
    if point is None:
        return
    first = having[0]
    found = speed_up(line, point)
    if len(having) == 1:
        text = f"only {nodes_in_words(first.nodes)} gave numbers, so nothing is said of scaling"
    elif found is None:
        text = f"no node count above {count(first.nodes)} has an efficiency above {100 * WORTH:.0f} %"
    else:
        efficiency = found.times(efficiency_factor(line, point))
        which = "the most that gave numbers" if point == having[-1] else "no larger count"
        text = (
            f"efficiency is above {100 * WORTH:.0f} % up to {nodes_in_words(point.nodes)} ({which}), where it is "
            f"{interval(efficiency.times(100))} % and the samples/s are {interval(found)} times those of "
            f"{nodes_in_words(first.nodes)}"
        )
        if efficiency.low is not None and efficiency.low <= WORTH:
            text += f"; as its interval reaches down to {100 * WORTH:.0f} % or less, that may be chance"
    yield Remark(about=line.name, text=f"{text}. {_where(point)}".rstrip())


def _where(point: Point) -> str:
    parts = parts_of_step(point)
    whole = sum(parts.values()) if parts else 0.0
    if not parts or not whole:
        return ""
    largest = sorted(parts.items(), key=lambda part: -part[1])
    shares = [f"{PART_NAMES[name]} {_percent(seconds / whole)}" for name, seconds in largest]
    return f"A step's time there: {listed(shares)}."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.01 else "under 1 %"


def _target(line: Line) -> Iterator[Remark]:
    having = line.having(time_to_target)
    if not having:
        return
    soonest = min(having, key=lambda point: mean(point.values(time_to_target)).value)
    time_s = interval(mean(soonest.values(time_to_target)))
    found = split(soonest, having[0]) if soonest != having[0] else None
    text = f"the target is reached soonest on {nodes_in_words(soonest.nodes)}, in {time_s} s"
    if len(having) == 1:
        where = f"on {nodes_in_words(soonest.nodes)}" if line.scales else "on nodes that follow the batch"
        text = f"the target is reached in {time_s} s {where}"
    if found is None:
        yield Remark(about=line.name, text=f"{text}.")
        return
    text += f", {interval(found.time)} times the time on {nodes_in_words(having[0].nodes)}. {_parts(found)}"
    yield Remark(about=line.name, text=text)


def _parts(found: Split) -> str:
    return (
        f"The machine's part of that: {interval(found.machine)} times the samples/s; "
        f"the learning's part: {interval(found.learning)} times the samples needed."
    )


def _against_fixed(lines: Sequence[Line]) -> Iterator[Remark]:
    """Yields how adaptive lines compare with fixed ones, at the most nodes that both have; a table has the others."""
    for _, group in groupby(against_fixed(lines), key=lambda found: id(found[0])):
        line, other, nodes, found = list(group)[-1]
        text = f"on {nodes_in_words(nodes)} the target is reached in {interval(found.time)} times the time."
        yield Remark(about=f"{line.name} against {other.name}", text=f"{text} {_parts(found)}")


def _follow(lines: Sequence[Line]) -> Iterator[Remark]:
    """Yields how runs whose nodes follow compare with the node counts that are soonest and cheapest."""
    for _, group in groupby(against_one_count(lines), key=lambda found: (id(found.line), id(found.other))):
        compared = list(group)
        soonest = max(compared, key=lambda found: found.time.value)
        cheapest = max(compared, key=lambda found: found.node_hours.value)
        ends = [(soonest, "the soonest"), *([(cheapest, "the cheapest")] if cheapest is not soonest else [])]
        parts = [
            f"{interval(found.time)} times the time and {interval(found.node_hours)} times the node-hours of "
            f"{nodes_in_words(found.nodes)}, {word if len(ends) > 1 else 'the soonest and the cheapest'}"
            for found, word in ends
        ]
        about = f"{soonest.line.name} against {soonest.other.name}"
        yield Remark(about=about, text=f"it takes {'; and '.join(parts)}.")


def _unreached(lines: Sequence[Line]) -> Iterator[Remark]:
    for line in lines:
        without = [(point, len(point.jobs) - len(point.values(time_to_target))) for point in line.points]
        missing = [
            f"{n_jobs} of {len(point.jobs)} on {nodes_in_words(point.nodes)}"
            for point, n_jobs in without
            if n_jobs and line.having(time_to_target)
        ]
        if missing:
            text = (
                f"runs that ended without reaching the target: {listed(missing)}. Times to target there are those of "
                "the other runs alone, so they are too good."
            )
            yield Remark(about=line.name, text=text)


def _few(lines: Sequence[Line]) -> Iterator[Remark]:
    few = {
        line.name: [f"{nodes_in_words(point.nodes)} ({len(point.jobs)} OK)" for point in line.points if _is_few(point)]
        for line in lines
    }
    listings = [f"{name} on {listed(points)}" for name, points in few.items() if points]
    if listings:
        text = f"none where fewer than {LEAST_JOBS} repeats are OK: {'; '.join(listings)}."
        yield Remark(about="95 % intervals", text=text)


def _is_few(point: Point) -> bool:
    return len(point.jobs) < LEAST_JOBS
