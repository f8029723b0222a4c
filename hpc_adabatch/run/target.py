"""A metric to train to: ``--until accuracy=0.92`` ends the run at the first evaluation that is at least as good."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, require
from ..tasks import Task
from ..training.journal import Record


@dataclass(frozen=True, kw_only=True)
class Target:
    """A value of a task's metric that ends the run."""

    metric: str
    """The name of the metric."""
    value: float
    """The value to be reached."""
    larger_is_better: bool
    """True for accuracy, False for perplexity."""

    def reached(self, value: float | None) -> bool:
        """Reports whether a value of the metric is at least as good; None, before the first evaluation, is not."""
        if value is None:
            return False
        return value >= self.value if self.larger_is_better else value <= self.value


def parse_target(text: str | None, task: Task) -> Target | None:
    """Returns the target that ``METRIC=VALUE`` stands for; None where nothing was given.

    Raises:
        InputError: The text is not of this form, or the task has another metric.
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
    """Returns where the journal's first evaluation at least as good as the target stands; None where there is none.

    Returns:
        ``metric``, ``target``, ``epoch`` (passes, the last one perhaps in part), ``step`` (updates), ``samples``, and
        ``wall_s`` (seconds since the start).
    """
    for record in records:
        if target is not None and record["kind"] == "evaluation" and target.reached(record["metric"]):
            where = {"epoch": record["epoch"] + 1, "step": record["step"], "samples": record["cursor"]}
            return {"metric": target.metric, "target": target.value, **where, "wall_s": record["time_s"]}
    return None
