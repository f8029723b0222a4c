"""How a report writes numbers: three digits, always with the unit in the head of the column or beside them.

Not here: what is written (tables.py, findings.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from .scaling.statistics import Interval

DIGITS = 3


def number(value: float | None) -> str:
    """Three significant digits, no exponent between 0.0001 and a million millions; nothing for None."""
    if value is None:
        return ""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = DIGITS - 1 - math.floor(math.log10(abs(value)))
    if not -12 < places < 8:
        return f"{value:.{DIGITS - 1}e}"
    return f"{round(value, places):,.{max(0, places)}f}"


def count(value: int | None) -> str:
    """Every digit, by thousands."""
    return "" if value is None else f"{value:,}"


def nodes_in_words(nodes: int) -> str:
    """1 node, 2 nodes."""
    return f"{count(nodes)} node{'' if nodes == 1 else 's'}"


def interval(found: Interval | None) -> str:
    """Value and 95 % interval; the value alone where there are too few jobs for one."""
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return number(found.value)
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"


def jobs_spread(values: Sequence[float], factor: float = 1.0) -> str:
    """Median over jobs, and the least and the greatest of them."""
    if not values:
        return ""
    least, middle, greatest = (number(factor * value) for value in (min(values), median(values), max(values)))
    return middle if least == greatest else f"{middle} ({least} to {greatest})"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
