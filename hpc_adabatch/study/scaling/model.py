"""Seconds of a step by node count: a sum of columns (columns.py), fitted to a study's jobs.

No column is negative, and errors are relative to what was measured. How far computing hides the sum of the gradients
has several accounts, and each stays that the data do not rule out:

    apart    communication has columns of its own
    hidden   communication = columns of the sum alone (also measured) + waiting - a part that grows with the local batch
    full     likewise, but only from the largest node count on: up to there it was hidden as far as it went

A prediction is the range of new jobs' times that any of them leaves open at 95 %, over all mixtures of columns that
fit (profile.py), with the spread between jobs. Noise comes from the repeats: of each part, within each node count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import fdtri, stdtrit

from .columns import ALONE, APART, COMPUTING_PART, FULL, HIDDEN, STEP, JobTimes, Layout, Part, column
from .profile import Profile
from .statistics import CONFIDENCE, Interval

FLOOR = 0.005
"""The least relative standard deviation: no formula is nearer to a machine, however still it is."""
SMALL = 0.02
"""The part of a step below which a time's error counts as one of the step."""
PLAUSIBLE = 0.99
"""The quantile beyond which a misfit rules an account out."""


class ScalingModel:
    """The model of a step, fitted to the jobs of one mode and variant.

    Args:
        jobs: The jobs, with one number of ranks on each node; repeats are jobs of the same layout.
        gradient_bytes: The bytes of the gradient, M; None to take the gradient as the unit.
    """

    def __init__(self, jobs: Sequence[JobTimes], gradient_bytes: float | None = None) -> None:
        self.bytes = 1.0 if gradient_bytes is None else float(gradient_bytes)
        self.groups: dict[Layout, list[JobTimes]] = {}
        for job in sorted(jobs, key=lambda job: job.layout.nodes):
            self.groups.setdefault(job.layout, []).append(job)
        self.apart = all(job.communication_s is not None for job in jobs)
        main = [COMPUTING_PART, APART] if self.apart else [STEP]
        self._noise = {part.name: self._noise_of(part) for part in (*main, ALONE, STEP)}
        self.degrees = min((df for part in main if (df := self._noise[part.name][1]) > 0), default=0)
        self.accounts = self._plausible([self._account(parts) for parts in self._accounts(main)])

    @property
    def largest(self) -> Layout:
        """Returns the layout of the most nodes."""
        return max(self.groups, key=lambda layout: layout.nodes)

    def predict(self, layout: Layout) -> Interval:
        """Returns the seconds of a step of a new job: the best fit, and where 95 % of such jobs lie.

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

    def _accounts(self, main: list[Part]) -> list[list[Part]]:
        """Returns the parts to be fitted together, for each account; the most plausible account first."""
        summed = [job for group in self.groups.values() for job in group if job.layout.ranks > 1]
        if not self.apart or any(job.allreduce_s is None for job in summed):
            return [main]
        return [main, [COMPUTING_PART, ALONE, HIDDEN], [COMPUTING_PART, ALONE, FULL]]

    def _plausible(self, accounts: list[Account]) -> list[Account]:
        """Returns the accounts that the noise allows; else the nearest, with as much noise as it needs."""
        if self.degrees == 0:
            return accounts[:1]
        kept = [account for account in accounts if account.plausible(self.degrees)]
        return kept or [min(accounts, key=lambda account: account.misfit).widened()]

    def _best(self, account: Account, layout: Layout) -> float:
        return max(account.profile.value(account.row(self, layout)), 0.0)

    def quantile(self) -> float:
        """Returns Student's t for the noise; there must have been repeats."""
        return float(stdtrit(self.degrees, (1 + CONFIDENCE) / 2))

    def layouts(self, part: Part) -> list[tuple[Layout, np.ndarray, float]]:
        """Returns (layout, (jobs,) times, the scale of their errors), without layouts where all of the part is 0."""
        found = []
        for layout, group in self.groups.items():
            if part.largest_only and layout != self.largest:
                continue
            if any(column(name, layout, self.bytes) for name in part.columns):
                times = np.array([part.measured(job) or 0.0 for job in group])
                step_s = float(np.mean([job.step_s for job in group]))
                found.append((layout, times, max(abs(float(times.mean())), SMALL * step_s)))
        return found

    def _noise_of(self, part: Part) -> tuple[float, int]:
        """Returns the relative standard deviation between jobs of one layout, and its degrees of freedom."""
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
                rows.append([column(name, layout, self.bytes) if name in part.columns else 0.0 for name in names])
                values.append(times.mean())
                deviations.append(self._noise[part.name][0] * scale / math.sqrt(len(times)))
        return Account(tuple(parts), names, np.array(rows), np.array(values), np.array(deviations))


@dataclass(frozen=True)
class Account:
    """Columns with a coefficient each, and the mean times that they are fitted to."""

    parts: tuple[Part, ...]
    """The parts that are fitted together."""
    names: tuple[str, ...]
    """The names of the columns."""
    rows: np.ndarray
    """(observations, columns) values of the columns."""
    values: np.ndarray
    """(observations,) mean times."""
    deviations: np.ndarray
    """(observations,) standard deviations of the mean times."""

    @cached_property
    def profile(self) -> Profile:
        """Returns the fit."""
        return Profile(self.rows, self.values, self.deviations)

    @property
    def misfit(self) -> float:
        """Returns the mean square of the residuals, in standard deviations."""
        return self.profile.misfit / len(self.values)

    def plausible(self, degrees: int) -> bool:
        """Reports whether the residuals may be noise, whose size is known with so many degrees of freedom."""
        return degrees > 0 and self.misfit <= float(fdtri(len(self.values), degrees, PLAUSIBLE))

    def widened(self) -> Account:
        """Returns the account with as much noise as its misfit needs."""
        return replace(self, deviations=max(1.0, math.sqrt(self.misfit)) * self.deviations)

    def row(self, model: ScalingModel, layout: Layout) -> np.ndarray:
        """Returns (columns,) values of the account's columns at a layout."""
        return np.array([column(name, layout, model.bytes) for name in self.names])
