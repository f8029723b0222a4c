"""Where the time of a run went, as far as its journal tells; and of a step, where ``adabatch measure`` has looked.

training           samples / (samples per second of the steps)
evaluation         from the line before an evaluation to its own, where no step lies between
start and restarts until the first line, and until the lines of kind ``resume``
the rest           checkpoints, and what nothing tells
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ...errors import reading
from ...records import check_format
from ...training.journal import Record
from .account import Account
from .curves import numbers

LEAST = 5e-4  # of the whole: what would be shown as 0.0 %
MEASURED = "measure"
"""The folder in that of a run into which ``adabatch measure RUN/config.yaml --out RUN/measure`` writes."""


@dataclass(frozen=True)
class Part:
    """A part of a time."""

    name: str
    """The name of what took it."""
    seconds: float
    """How long it took."""


def time_spent(run: Account) -> list[Part]:
    """Returns the parts of a run's wall time, which add up to it; those too small to be seen are left out."""
    wall_s, steps_s = run.result["wall_s"], _training_s(run)
    evaluation_s = sum(
        after["time_s"] - before["time_s"]
        for before, after in pairwise(run.records)
        if after["kind"] == "evaluation" and before["cursor"] == after["cursor"] and before["kind"] != "resume"
    )
    starts_s = run.start["time_s"] + sum(
        after["time_s"] - before["time_s"] for before, after in pairwise(run.records) if after["kind"] == "resume"
    )
    training_s = max(0.0, min(steps_s, wall_s - evaluation_s - starts_s))
    parts = [
        Part("training steps", training_s),
        Part("evaluation", evaluation_s),
        Part("start and restarts", starts_s),
        Part("checkpoints and the rest", max(0.0, wall_s - training_s - evaluation_s - starts_s)),
    ]
    return [part for part in parts if part.seconds > LEAST * wall_s]


def _training_s(run: Account) -> float:
    rate = run.result.get("samples_per_s")
    if rate:
        return run.result["samples_seen"] / rate
    steps: list[Record] = [run.start, *run.of_kind("statistics")]
    return steps[-1]["time_s"] - steps[0]["time_s"]


def statistics_cost(run: Account) -> float | None:
    """Returns the mean part of the steps' time that measuring the noise was expected to take; None where none did."""
    costs = numbers(run.of_kind("decision"), "statistics_cost")
    costs = costs[costs >= 0]
    return float(costs.mean()) if len(costs) else None


def step_parts(run: Account) -> list[Part]:
    """Returns the parts of a step that ``adabatch measure`` found on these ranks; none where it has not looked.

    Raises:
        InputError: Its file is damaged.
    """
    file = run.folder.path / MEASURED / "result.json"
    if not file.exists():
        return []
    with reading("RUN", file, "what adabatch measure writes", f"adabatch measure RECIPE --out {file.parent}"):
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        check_format(found, "RUN", file)
        names = {
            "waiting for samples": "data_s",
            "computing": "compute_s",
            "waiting for slower ranks": "straggler_s",
            "exposed communication": "exposed_s",
        }
        return [Part(name, max(0.0, float(found[field]))) for name, field in names.items()]
