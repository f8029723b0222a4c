"""The metric of a run, as the first line of its journal tells of it."""

from __future__ import annotations

from ..training.journal import Record

SMALLER = ("gap", "perplexity")
"""The metrics that are better the smaller they are, in journals of earlier releases, which do not say so."""


def larger_is_better(start: Record) -> bool:
    """Reports whether the metric is better the larger it is.

    Args:
        start: The journal's first line.
    """
    return bool(start.get("larger_is_better", start["metric"] not in SMALLER))
