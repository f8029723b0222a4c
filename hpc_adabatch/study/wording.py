"""Words and numbers of a report: three digits, the unit in the head of the column or beside them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from ..terminal import count, number
from .scaling.statistics import Interval


def nodes_in_words(nodes: int) -> str:
    """Returns 1 node, 2 nodes, and so on."""
    return f"{count(nodes)} node{'' if nodes == 1 else 's'}"


def interval(found: Interval | None) -> str:
    """Returns a value with its 95 % interval; the value alone where there are too few jobs for an interval."""
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return number(found.value)
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"


def jobs_spread(values: Sequence[float], factor: float = 1.0) -> str:
    """Returns the median over jobs, and the least and the greatest value."""
    if not values:
        return ""
    least, middle, greatest = (number(factor * value) for value in (min(values), median(values), max(values)))
    return middle if least == greatest else f"{middle} ({least} to {greatest})"


def listed(words: Sequence[str]) -> str:
    """Returns words as a list: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
