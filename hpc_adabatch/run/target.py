"""Training until a metric is reached: what was wanted, and when it was there.

    --until accuracy=0.92     ->  the first evaluation at or above 0.92 (perplexity: at or below) ends the run

Not here: evaluations (evaluation.py), the file that tells of it (result.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, require
from ..tasks import Task
from ..training.journal import Record


@dataclass(frozen=True, kw_only=True)
class Target:
    """A value of a task's metric."""

    metric: str
    value: float
    larger_is_better: bool

    def reached(self, value: float | None) -> bool:
        """Whether a value of the metric is as good."""
        if value is None:
            return False
        return value >= self.value if self.larger_is_better else value <= self.value


def parse_target(text: str | None, task: Task) -> Target | None:
    """Reads ``METRIC=VALUE``; None of None.

    Raises:
        InputError: it is not of this form, or the task has another metric.
    """
    if text is None:
        return None
    name, _, number = text.partition("=")
    hint = f"--until {task.metric}={0.9 if task.larger_is_better else 100}"
    require(name == task.metric, "until", text, f"{task.metric}=VALUE, the metric of this task", hint)
    try:
        value = float(number)
    except ValueError as error:
        raise InputError("until", text, "a number after the =", hint) from error
    require(math.isfinite(value), "until", text, "a finite number", hint)
    return Target(metric=name, value=value, larger_is_better=task.larger_is_better)


def first_reached(target: Target | None, records: list[Record]) -> dict[str, Any] | None:
    """Where the journal's first evaluation as good as the target stands; None where there is none.

    Returns:
        metric, target, epoch (passes that were over), step (updates), samples, wall_s (seconds since the start).
    """
    for record in records:
        if target is not None and record["kind"] == "evaluation" and target.reached(record["metric"]):
            where = {"epoch": record["epoch"] + 1, "step": record["step"], "samples": record["cursor"]}
            return {"metric": target.metric, "target": target.value, **where, "wall_s": record["time_s"]}
    return None
