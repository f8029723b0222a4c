"""What a report draws of a run, over samples, updates and seconds alike.

    batch       the global batch in force, with the reason of each change
    noise       the noise scale with its 95 % interval
    asked       the batch that the rule asked for, before bounds and steps of growth
    rate        the learning rate
    loss        training, mean between two lines of the journal; test
    speed       samples per second, over stretches within epochs, without evaluations and restarts
    trust       trust ratios by layer

Every curve is thinned to as many points as a screen can show (thinning.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...training.journal import Record
from ..growth import phases
from .account import Account
from .reasons import wanted
from .thinning import kept

POINTS = 1200
"""Points of a curve where one run is drawn; a comparison divides them among its runs."""
FEWEST_POINTS = 150
STRETCHES = 150
"""Stretches over which speed is averaged, and trust ratios are shown, at most."""
CELLS = 6000
"""Trust ratios that are shown: fewer stretches where there are many layers."""


@dataclass(frozen=True)
class Curve:
    """Numbers over the course of a run."""

    samples: np.ndarray
    """The samples trained on, at each point."""
    updates: np.ndarray
    """The optimizer's updates, at each point."""
    seconds: np.ndarray
    """The seconds since the start, at each point."""
    values: dict[str, np.ndarray]
    """The numbers by name; nan where there is none."""
    words: dict[str, list[str]] = field(default_factory=dict)
    """Texts by name, one at each point."""
    of: int = 0
    """The number of points before it was thinned."""

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def is_thinned(self) -> bool:
        """Reports whether points were left out."""
        return self.of > len(self)

    def only(self, positions: np.ndarray) -> Curve:
        """Returns the curve with these points alone."""
        return Curve(
            self.samples[positions],
            self.updates[positions],
            self.seconds[positions],
            {name: column[positions] for name, column in self.values.items()},
            {name: [texts[at] for at in positions] for name, texts in self.words.items()},
            len(self),
        )

    def thinned(self, points: int) -> Curve:
        """Returns the curve with at most about so many points."""
        return self.only(kept(list(self.values.values()), points))


def curve(
    records: Sequence[Record],
    values: Mapping[str, Sequence[float | None]],
    words: Mapping[str, Sequence[str]] | None = None,
) -> Curve:
    """Returns a curve through lines of a journal.

    Args:
        records: The lines, one for each point.
        values: A number for each of them, by name.
        words: A text for each of them, by name.
    """
    samples, updates, seconds = (numbers(records, name) for name in ("cursor", "step", "time_s"))
    texts = {name: list(column) for name, column in (words or {}).items()}
    return Curve(samples, updates, seconds, {name: _array(column) for name, column in values.items()}, texts)


def numbers(records: Sequence[Record], name: str) -> np.ndarray:
    """Returns a field of each line as an array; nan where it is null or missing."""
    return _array([record.get(name) for record in records])


def _array(column: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in column], dtype=float)


def batch(run: Account) -> Curve:
    """Returns the global batch: a point at the start, at each change and at the last line, with the reasons."""
    first, *changed = phases(run.records)
    reasons = ["start", *(record.get("reason") or "not told" for record in changed), "last line of the journal"]
    sizes = [record["global_batch"] for record in (first, *changed)]
    return curve([first, *changed, run.records[-1]], {"batch": [*sizes, sizes[-1]]}, {"reason": reasons})


def noise(run: Account) -> Curve:
    """Returns the noise scale with its interval, whose upper end is nan where the journal knows none."""
    measured = [record for record in run.of_kind("noise") if "noise_scale" in record]
    names = {"noise": "noise_scale", "low": "low", "high": "high"}
    return curve(measured, {name: [record.get(field) for record in measured] for name, field in names.items()})


def asked(run: Account) -> Curve:
    """Returns the batch that the rule asked for; nan where it asked for one without end."""
    told = [(record, wanted(record.get("reason") or "")) for record in run.of_kind("decision")]
    found = [(record, size) for record, size in told if size is not None]
    sizes = [size if math.isfinite(size) else None for _, size in found]
    return curve([record for record, _ in found], {"asked": sizes})


def rate(run: Account) -> Curve:
    """Returns the learning rate of the steps."""
    used = run.of_kind("statistics")
    return curve(used, {"rate": [record["learning_rate"] for record in used]})


def training_loss(run: Account) -> Curve:
    """Returns the mean training loss between two lines of the journal."""
    used = run.of_kind("statistics")
    return curve(used, {"loss": [record["loss"] for record in used]})


def evaluation(run: Account) -> Curve:
    """Returns the test loss and the metric of each evaluation."""
    used = run.of_kind("evaluation")
    return curve(used, {name: [record.get(name) for record in used] for name in ("loss", "metric")})


def speed(run: Account) -> Curve:
    """Returns samples per second: means over stretches of steps, without evaluations, restarts and ends of epochs."""
    stretches: list[tuple[Record, float, float]] = []  # at its end: samples, seconds
    before: Record | None = None
    for record in run.records:
        if record["kind"] == "statistics":
            within = before is not None and before["epoch"] == record["epoch"]
            if before is not None and within and record["time_s"] > before["time_s"]:
                took = record["cursor"] - before["cursor"], record["time_s"] - before["time_s"]
                stretches.append((record, *took))
            before = record
        elif record["kind"] in ("evaluation", "resume", "gap", "end"):
            before = None
    groups = [group for group in np.array_split(np.arange(len(stretches)), STRETCHES) if len(group)]
    means = [sum(stretches[at][1] for at in group) / sum(stretches[at][2] for at in group) for group in groups]
    return curve([stretches[group[-1]][0] for group in groups], {"speed": means})


def restarts(run: Account) -> Curve:
    """Returns where the run went on from a checkpoint."""
    return curve(run.of_kind("resume"), {})


@dataclass(frozen=True)
class Trust:
    """Trust ratios by layer, over stretches of a run."""

    layers: list[str]
    """The names of the parameters, in the model's order."""
    edges: Curve
    """The ends of the stretches, one more than there are."""
    ratios: np.ndarray
    """The median ratio, (layers, stretches); nan where none was recorded."""


def trust(run: Account) -> Trust | None:
    """Returns the trust ratios; None where none are recorded."""
    recorded = run.of_kind("trust_ratios")
    layers = list(dict.fromkeys(name for record in recorded for name in record["ratios"]))
    if not layers:
        return None
    stretches = max(10, min(STRETCHES, CELLS // len(layers)))
    groups = [group for group in np.array_split(np.arange(len(recorded)), stretches) if len(group)]
    ratios = np.stack([numbers([record["ratios"] for record in recorded], layer) for layer in layers])
    ratios = np.stack([_median(ratios[:, group]) for group in groups], axis=1)  # (layers, stretches)
    ends = [recorded[group[-1]] for group in groups]
    return Trust([str(layer) for layer in layers], curve([run.start, *ends], {}), ratios)


def _median(block: np.ndarray) -> np.ndarray:
    """Returns the median of each row, without nan; nan for a row that has nothing else."""
    return np.array([np.median(row[~np.isnan(row)]) if (~np.isnan(row)).any() else math.nan for row in block])
