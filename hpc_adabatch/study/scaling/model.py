"""Seconds of a step by node count, as a sum of named columns.

    step = computing + communication        measured apart: step times alone cannot tell serial from bandwidth

    computing       samples           local batch b                  falls as 1/N where the global batch stays
                    serial            1                              what every step costs, whatever its batch
    communication   within the node   1, with several ranks on one
                    start             1, from two nodes on           agreeing, queueing
                    ring latency      2 (N-1)                        hops of a ring over N nodes
                    ring bytes        2 (N-1)/N M                    bytes through each node's adapter
                    tree              2 log2 N                       hops of a tree; also about what waiting for the
                                                                     latest of N grows with
    no column is negative; errors are relative to what was measured; N nodes rather than P ranks, because with R ranks
    on each, (P-1) and (P-1)/P are sums of the columns above

How far computing hides the sum of the gradients has several accounts, and each stays that the data do not rule out:

    apart    communication has columns of its own
    hidden   communication = columns of the sum alone (also measured) + waiting - a part that grows with the local batch
    full     likewise, but only from the largest node count on: up to there it was hidden as far as it went

A prediction is the range of new jobs' times that any of them leaves open at 95 %, over all mixtures of columns that
fit (profile.py), with the spread between jobs. Noise comes from the repeats: of each part, within each node count.

Not here: what the data cannot separate (identifiability.py), reading results (predict.py), networks with known links
(network.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import fdtri, stdtrit

from .profile import Profile
from .statistics import CONFIDENCE, Interval

FLOOR = 0.005  # relative standard deviation: no formula is nearer to a machine than that, however still it is
SMALL = 0.02  # part of a step below which a time's error counts as one of the step
PLAUSIBLE = 0.99  # an account is dropped when its misfit is beyond this quantile

COMPUTING = ("samples", "serial")
COMMUNICATION = ("within the node", "start", "ring latency", "ring bytes", "tree")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a step is done."""

    nodes: int
    ranks: int
    """Over all nodes."""
    local_batch: float
    """Samples of a rank."""


@dataclass(frozen=True, kw_only=True)
class JobTimes:
    """One job's medians, in seconds a step."""

    layout: Layout
    step_s: float
    communication_s: float | None = None
    """Not hidden by computing, waiting for the slowest rank included; None where it was not measured."""
    allreduce_s: float | None = None
    """The gradient summed alone."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A time that jobs measured, and the columns that make it up."""

    name: str
    columns: tuple[str, ...]
    measured: Callable[[JobTimes], float | None]
    largest_only: bool = False
    """Only at the largest node count."""


_STEP = Part(name="step", columns=(*COMPUTING, *COMMUNICATION), measured=lambda job: job.step_s)
_COMPUTING = Part(name="computing", columns=COMPUTING, measured=lambda job: job.step_s - (job.communication_s or 0.0))
_APART = Part(name="communication", columns=COMMUNICATION, measured=lambda job: job.communication_s)
_ALONE = Part(name="allreduce", columns=COMMUNICATION, measured=lambda job: job.allreduce_s)
_HIDDEN = replace(_APART, columns=(*COMMUNICATION, "waiting", "hidden"))
_FULL = replace(_APART, columns=(*COMMUNICATION, "hidden"), largest_only=True)


class ScalingModel:
    """The model, fitted to the jobs of one mode and variant.

    Args:
        jobs: with one number of ranks on each node; repeats are jobs of the same layout.
        gradient_bytes: M; None: the unit of the ring's bytes is the gradient.
    """

    def __init__(self, jobs: Sequence[JobTimes], gradient_bytes: float | None = None) -> None:
        self.bytes = 1.0 if gradient_bytes is None else float(gradient_bytes)
        self.groups: dict[Layout, list[JobTimes]] = {}
        for job in sorted(jobs, key=lambda job: job.layout.nodes):
            self.groups.setdefault(job.layout, []).append(job)
        self.apart = all(job.communication_s is not None for job in jobs)
        main = [_COMPUTING, _APART] if self.apart else [_STEP]
        self._noise = {part.name: self._noise_of(part) for part in (*main, _ALONE, _STEP)}
        self.degrees = min((df for part in main if (df := self._noise[part.name][1]) > 0), default=0)
        self.accounts = self._plausible([self._account(parts) for parts in self._accounts(main)])

    @property
    def largest(self) -> Layout:
        return max(self.groups, key=lambda layout: layout.nodes)

    def predict(self, layout: Layout) -> Interval:
        """Seconds of a step of a new job there: the best fit, and where 95 % of such jobs lie.

        Without repeats there is no interval.
        """
        found = self._best(self.accounts[0], layout)
        if self.degrees == 0:
            return Interval(value=found)
        quantile, spread, ends = self.quantile(), self._noise["step"][0], []
        for account in self.accounts:
            deviation = spread * self._best(account, layout)
            ends.append(account.profile.interval(account.row(self, layout), quantile, deviation))
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        return Interval(value=found, low=low, high=high)

    def column(self, name: str, layout: Layout) -> float:
        """A column at a layout: its seconds are this times its coefficient."""
        n = layout.nodes
        return {
            "samples": layout.local_batch,
            "serial": 1.0,
            "within the node": float(layout.ranks > n),
            "start": float(n > 1),
            "ring latency": 2.0 * (n - 1),
            "ring bytes": 2 * (n - 1) / n * self.bytes,
            "tree": 2 * math.log2(n),
            "waiting": math.log2(layout.ranks),
            "hidden": -layout.local_batch if layout.ranks > 1 else 0.0,
        }[name]

    def _accounts(self, main: list[Part]) -> list[list[Part]]:
        """Which parts there are to fit together, most to be believed first."""
        summed = [job for group in self.groups.values() for job in group if job.layout.ranks > 1]
        if not self.apart or any(job.allreduce_s is None for job in summed):
            return [main]
        return [main, [_COMPUTING, _ALONE, _HIDDEN], [_COMPUTING, _ALONE, _FULL]]

    def _plausible(self, accounts: list[Account]) -> list[Account]:
        """Those that the noise allows; else the nearest, with as much noise as it needs."""
        if self.degrees == 0:
            return accounts[:1]
        kept = [account for account in accounts if account.plausible(self.degrees)]
        return kept or [min(accounts, key=lambda account: account.misfit).widened()]

    def _best(self, account: Account, layout: Layout) -> float:
        return max(account.profile.value(account.row(self, layout)), 0.0)

    def quantile(self) -> float:
        """Student's t for the noise; there must have been repeats."""
        return float(stdtrit(self.degrees, (1 + CONFIDENCE) / 2))

    def layouts(self, part: Part) -> list[tuple[Layout, np.ndarray, float]]:
        """Layout, (jobs,) times, and the scale of their errors; not where all of the part is 0."""
        found = []
        for layout, group in self.groups.items():
            if part.largest_only and layout != self.largest:
                continue
            if any(self.column(name, layout) for name in part.columns):
                times = np.array([part.measured(job) or 0.0 for job in group])
                step_s = float(np.mean([job.step_s for job in group]))
                found.append((layout, times, max(abs(float(times.mean())), SMALL * step_s)))
        return found

    def _noise_of(self, part: Part) -> tuple[float, int]:
        """Relative standard deviation between jobs of one layout, and its degrees of freedom."""
        squares, degrees = 0.0, 0
        for _, times, scale in self.layouts(part):
            squares += float(((times - times.mean()) ** 2).sum()) / scale**2
            degrees += len(times) - 1
        return max(math.sqrt(squares / degrees) if degrees else 0.0, FLOOR), degrees

    def _account(self, parts: Sequence[Part]) -> Account:
        names = tuple(dict.fromkeys(name for part in parts for name in part.columns))
        rows, values, deviations = [], [], []
        for part in parts:
            for layout, times, scale in self.layouts(part):
                rows.append([self.column(name, layout) if name in part.columns else 0.0 for name in names])
                values.append(times.mean())
                deviations.append(self._noise[part.name][0] * scale / math.sqrt(len(times)))
        return Account(tuple(parts), names, np.array(rows), np.array(values), np.array(deviations))


@dataclass(frozen=True)
class Account:
    """Columns with a coefficient each, and the mean times that they are fitted to."""

    parts: tuple[Part, ...]
    names: tuple[str, ...]
    rows: np.ndarray
    values: np.ndarray
    deviations: np.ndarray

    @cached_property
    def profile(self) -> Profile:
        return Profile(self.rows, self.values, self.deviations)

    @property
    def misfit(self) -> float:
        """Mean square of the residuals, in standard deviations."""
        return self.profile.misfit / len(self.values)

    def plausible(self, degrees: int) -> bool:
        """Whether the residuals may be noise, whose size is known with so many degrees of freedom."""
        return degrees > 0 and self.misfit <= float(fdtri(len(self.values), degrees, PLAUSIBLE))

    def widened(self) -> Account:
        return replace(self, deviations=max(1.0, math.sqrt(self.misfit)) * self.deviations)

    def row(self, model: ScalingModel, layout: Layout) -> np.ndarray:
        return np.array([model.column(name, layout) for name in self.names])
