"""Where a run stands, as the lines of its journal tell it one after another.

progress     samples trained on, or AdaScale's clock, as a part of all that the run is to have
speed        samples per second of training, over the last ten minutes: no evaluations, no restarts
time left    at the pace of progress of the last ten minutes, evaluations and checkpoints included
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeVar

from ...training.journal import Record
from ..metric import larger_is_better

WINDOW_S = 600.0
POINT_S = 1.0  # of the window are kept as one: a step may take a millisecond
Point = TypeVar("Point", bound=tuple[float, ...])


@dataclass(frozen=True)
class Change:
    """A change of the batch."""

    before: int
    """The global batch before it."""
    record: Record
    """The line of the decision, or of the restart."""


@dataclass
class Position:
    """The position of a run, by the lines taken so far.

    Args:
        start: The journal's first line.

    Attributes:
        last: The last line.
        epochs: The epochs that the run is to have, which may be changed when it goes on.
        place: The line with the ranks and nodes of the part that trains now: that of the start, or of a restart.
        holding: The line with the batch and the rate that hold now.
        decision: The last line of a decision; None before the first.
        change: The last change of the batch; None before the first.
        statistics: The last line of a step's loss and rate; None before the first.
        noise: The last line with a noise scale; None before the first.
        evaluation: The last evaluation with a metric; None before the first.
        best: The first of the evaluations with the best metric; None before the first.
        skipped: The updates that were skipped since the start.
        restarts: The times that the run went on from a checkpoint.
    """

    start: Record
    last: Record = field(init=False)
    epochs: float = field(init=False)
    place: Record = field(init=False)
    holding: Record = field(init=False)
    decision: Record | None = None
    change: Change | None = None
    statistics: Record | None = None
    noise: Record | None = None
    evaluation: Record | None = None
    best: Record | None = None
    skipped: int = 0
    restarts: int = 0

    def __post_init__(self) -> None:
        self.last = self.place = self.holding = self.start
        self.epochs = float(self.start["epochs"])
        self._pace = deque([(self.start["time_s"], self.progress)])  # seconds, progress
        self._trained: deque[tuple[float, int, float]] = deque()  # until when; samples and seconds of training
        self._step_before: Record | None = None

    def take(self, record: Record) -> None:
        """Takes note of the next line."""
        self.last = record
        match record["kind"]:
            case "decision":
                self.decision = record
                self._hold(record)
            case "micro_batch":
                self._hold(record)
            case "statistics":
                self._take_step(record)
            case "noise" if record.get("noise_scale") is not None:
                self.noise = record
            case "evaluation":
                self._step_before = None  # the seconds up to the next step are not those of training
                self._take_evaluation(record)
            case "resume":
                self._step_before = None
                self._pace.clear()
                self.place = record
                self._hold(record)
                self.restarts += 1
                self.epochs = float((record.get("changed") or {}).get("epochs", (None, self.epochs))[1])
            case "skipped":
                self.skipped += 1
        self._keep_pace(record["time_s"])

    @property
    def done(self) -> float:
        """Returns the epochs that are done, on the clock that ends the run."""
        return float(self.last.get("clock", self.last["cursor"] / self.start["samples_per_epoch"]))

    @property
    def progress(self) -> float:
        """Returns the part of the run that is done, from 0 to 1."""
        return min(1.0, self.done / self.epochs) if self.epochs > 0 else 1.0

    @property
    def samples_per_s(self) -> float | None:
        """Returns the samples per second of training; None before two lines of steps tell it."""
        seconds = sum(took for _, _, took in self._trained)
        return sum(samples for _, samples, _ in self._trained) / seconds if seconds > 0 else None

    @property
    def left_s(self) -> float | None:
        """Returns the seconds that the run still takes at its pace of late; None where nothing tells it yet."""
        (since_s, since), (now_s, now) = self._pace[0], self._pace[-1]
        if self.is_over or now <= since or now_s <= since_s:
            return None
        return (1.0 - now) * (now_s - since_s) / (now - since)

    @property
    def is_over(self) -> bool:
        """Reports whether the last line is that of an end, or of a stop."""
        return self.last["kind"] == "end"

    def _hold(self, record: Record) -> None:
        before, self.holding = self.holding["global_batch"], record
        if record["global_batch"] != before:
            self.change = Change(before, record)

    def _take_step(self, record: Record) -> None:
        before, self.statistics, self._step_before = self._step_before, record, record
        if before is not None and before["epoch"] == record["epoch"] and record["time_s"] > before["time_s"]:
            samples, seconds = record["cursor"] - before["cursor"], record["time_s"] - before["time_s"]
            if self._trained and self._trained[-1][2] < POINT_S:
                _, samples_before, seconds_before = self._trained.pop()
                samples, seconds = samples + samples_before, seconds + seconds_before
            self._trained.append((record["time_s"], samples, seconds))
            _forget(self._trained, record["time_s"], keep=1)

    def _keep_pace(self, time_s: float) -> None:
        if len(self._pace) > 1 and time_s - self._pace[-2][0] < POINT_S:
            self._pace.pop()
        self._pace.append((time_s, self.progress))
        _forget(self._pace, time_s, keep=2)

    def _take_evaluation(self, record: Record) -> None:
        if record["metric"] is None:
            return
        self.evaluation = record
        sign = 1 if larger_is_better(self.start) else -1
        if self.best is None or sign * record["metric"] > sign * self.best["metric"]:
            self.best = record


def _forget(points: deque[Point], now_s: float, *, keep: int) -> None:
    """Drops points whose first number, a time, is older than the window."""
    while len(points) > keep and now_s - points[0][0] > WINDOW_S:
        points.popleft()
