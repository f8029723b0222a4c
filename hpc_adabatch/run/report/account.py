"""A run as its folder tells it: what it is, how far it came, and how it ended, if it has.

complete   the journal's last line says so
stopped    told to, by a signal or a file, with a checkpoint to go on from
diverged   too many updates in a row were skipped
running    a process owns the folder
cut off    none of these: killed, or its machine was lost
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import reading, require
from ...records import check_format
from ...training.journal import Record, read
from ..folder import RunFolder
from ..metric import larger_is_better
from ..outcome import outcome

ALLOWED = "the folder of a run, with journal.jsonl in it"


class State(Enum):
    """How a run stands."""

    COMPLETE = "complete"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    RUNNING = "running"
    CUT_OFF = "cut off"


@dataclass(frozen=True, eq=False)
class Account:
    """A run, as its folder tells it."""

    folder: RunFolder
    """The paths of its files."""
    label: str
    """The name by which it is told from others in a comparison."""
    records: list[Record]
    """The journal's complete lines, the first of which is the start."""
    result: dict[str, Any]
    """The fields of result.json; those so far where there is no such file."""
    state: State
    """How it stands."""

    @property
    def start(self) -> Record:
        """Returns the journal's first line."""
        return self.records[0]

    @property
    def reason(self) -> str:
        """Returns what the journal says of its end; an empty text where it has none."""
        return str(self.records[-1]["reason"]) if self.records[-1]["kind"] == "end" else ""

    @property
    def epochs(self) -> float:
        """Returns the epochs that it is to have, which may have been changed when it went on."""
        changes = [(record.get("changed") or {}).get("epochs") for record in self.of_kind("resume")]
        return float(next((change[1] for change in reversed(changes) if change), self.start["epochs"]))

    @property
    def larger_is_better(self) -> bool:
        """Reports whether the metric is better the larger it is."""
        return larger_is_better(self.start)

    def of_kind(self, kind: str) -> list[Record]:
        """Returns the journal's lines of a kind."""
        return self._by_kind.get(kind, [])

    @cached_property
    def _by_kind(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record["kind"], []).append(record)
        return found

    @property
    def metrics(self) -> list[Record]:
        """Returns the evaluations whose metric is a number."""
        return [record for record in self.of_kind("evaluation") if record["metric"] is not None]

    @property
    def best(self) -> Record | None:
        """Returns the first of the evaluations with the best metric; None without any."""
        choose = max if self.larger_is_better else min
        return choose(self.metrics, key=lambda record: record["metric"], default=None)

    def first_as_good_as(self, value: float) -> Record | None:
        """Returns the first evaluation whose metric is at least as good as a value; None where none is."""
        sign = 1 if self.larger_is_better else -1
        return next((record for record in self.metrics if sign * record["metric"] >= sign * value), None)


def account(folder: Path, label: str = "") -> Account:
    """Returns what a folder tells of its run.

    Args:
        folder: The folder.
        label: The name by which it is told from others; the run's own when not given.

    Raises:
        InputError: There is no run in the folder, or its files are damaged.
    """
    with reading("RUN", folder, ALLOWED, "adabatch report runs/NAME"):
        paths = RunFolder(folder)
        records = read(paths.journal)
        begun = bool(records) and records[0]["kind"] == "start"
        require(begun, "RUN", f"{folder}, whose journal has no start", ALLOWED, "adabatch report runs/NAME")
        state = _state(paths, records)
        return Account(paths, label or str(records[0]["name"]), records, _result(paths, records), state)


def accounts(folders: Sequence[Path]) -> list[Account]:
    """Returns several runs, each labelled by its folder: the last part of the path where that tells them apart.

    Raises:
        InputError: One of the folders holds no run, or files are damaged; the first one found.
    """
    short = [folder.resolve().name for folder in folders]
    labels = [name if short.count(name) == 1 else str(folder) for name, folder in zip(short, folders, strict=True)]
    return [account(folder, label) for folder, label in zip(folders, labels, strict=True)]


def _state(paths: RunFolder, records: list[Record]) -> State:
    last = records[-1]
    if last["kind"] == "end":
        if last["reason"] == "complete":
            return State.COMPLETE
        return State.DIVERGED if str(last["reason"]).startswith("diverged") else State.STOPPED
    try:
        return State.RUNNING if paths.owner.writer() is not None else State.CUT_OFF
    except OSError:  # a folder of somebody else: its clock cannot be asked
        return State.CUT_OFF


def _result(paths: RunFolder, records: list[Record]) -> dict[str, Any]:
    if records[-1]["kind"] == "end" and paths.result.exists():
        found = json.loads(paths.result.read_text(encoding="utf-8"))
        check_format(found, "RUN", paths.result)
        return dict(found)
    return outcome(records, wall_s=records[-1]["time_s"], samples_per_s=_samples_per_s(records))


def _samples_per_s(records: list[Record]) -> float | None:
    """Returns the samples per second of the epochs that were evaluated; None before the first."""
    samples, seconds, since = 0, 0.0, 0
    for record in records:
        if record["kind"] in ("evaluation", "resume"):
            if record.get("samples_per_s"):
                samples += record["cursor"] - since
                seconds += (record["cursor"] - since) / record["samples_per_s"]
            since = record["cursor"]
    return samples / seconds if seconds > 0 else None
