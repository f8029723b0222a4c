"""Seconds of a step by node count: a sum of columns (columns.py), fitted to a study's jobs.

No column is negative, and errors are relative to what was measured. How far computing hides the sum of the gradients
has several accounts, and each stays that the data do not rule out:

    apart    communication has columns of its own
    hidden   communication = columns of the sum alone (also measured) + waiting - a part of computing
    full     likewise, but only from the largest node count on: up to there it was hidden as far as it went

A prediction holds 95 % of new jobs' times, over these accounts alike and mixtures of columns by how well they fit
(posterior.py), with the spread between jobs. Noise comes from the repeats: of each part, within each node count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import fdtri, stdtrit

from .columns import (
    ALONE,
    APART,
    COMPUTING,
    COMPUTING_PART,
    FULL,
    HIDDEN,
    HIDES,
    STEP,
    JobTimes,
    Layout,
    Part,
    column,
)
from .posterior import draws
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

    Attributes:
        noise: The relative standard deviation between jobs of one layout, and its degrees of freedom, by part.
    """

    def __init__(self, jobs: Sequence[JobTimes], gradient_bytes: float | None = None) -> None:
        self.bytes = 1.0 if gradient_bytes is None else float(gradient_bytes)
        self.groups: dict[Layout, list[JobTimes]] = {}
        for job in sorted(jobs, key=lambda job: job.layout.nodes):
            self.groups.setdefault(job.layout, []).append(job)
        self.apart = all(job.communication_s is not None for job in jobs)
        main = [COMPUTING_PART, APART] if self.apart else [STEP]
        self.noise = {part.name: self._noise_of(part) for part in (*main, ALONE, STEP)}
        self.degrees = min((df for part in main if (df := self.noise[part.name][1]) > 0), default=0)
        self.accounts = self._plausible([self._account(parts) for parts in self._accounts(main)])

    @property
    def largest(self) -> Layout:
        """Returns the layout of the most nodes."""
        return max(self.groups, key=lambda layout: layout.nodes)

    def predict(self, layout: Layout) -> Interval:
        """Returns the seconds of a step of a new job: their median, and where 95 % of such jobs lie.

        Without repeats there is no interval, and the best fit in place of the median.
        """
        if self.degrees == 0:
            return Interval(value=self._best(self.accounts[0], layout))
        rows = [(account, account.row(self, layout)) for account in self.accounts]
        if not all(account.profile.seen[row != 0].all() for account, row in rows):  # no job had such a column
            return Interval(value=self._best(self.accounts[0], layout), low=0.0, high=math.inf)
        means = np.concatenate([np.maximum(self._draws[account] @ row, 0.0) for account, row in rows])
        noise, degrees = self.noise["step"]
        draw = np.random.default_rng(0)
        spread = noise * np.sqrt(degrees / draw.chisquare(degrees, len(means)))
        jobs = means * np.exp(spread * draw.standard_normal(len(means)))
        tail = (1 - CONFIDENCE) / 2
        low, median, high = np.quantile(jobs, [tail, 0.5, 1 - tail]).tolist()
        return Interval(value=median, low=low, high=high)

    @cached_property
    def _draws(self) -> dict[Account, np.ndarray]:
        """Returns (draws, columns) coefficients of each account."""
        return {account: self._drawn(account) for account in self.accounts}

    def _drawn(self, account: Account) -> np.ndarray:
        known = [self.noise[part.name] for part in account.parts]
        repeated = max((noise for noise in known if noise[1] > 0), key=lambda noise: noise[0])
        known = [noise if noise[1] > 0 else repeated for noise in known]  # a part without repeats: as the noisiest
        noise, degrees = (np.array(each, dtype=np.float64) for each in zip(*known, strict=True))
        own = np.array([self.noise[account.parts[part].name][0] for part in account.belongs])
        return draws(
            account.rows,
            account.values,
            account.deviations / own,
            account.belongs,
            noise,
            degrees,
            np.array([self._expected(name) for name in account.names]),
            FLOOR,
        )

    def _expected(self, name: str) -> float:
        """Returns the mean of a coefficient beforehand: such that columns of one kind are alike between two nodes."""
        first, last = min(self.groups, key=lambda layout: layout.nodes), self.largest
        computing_s = np.mean([job.step_s - (job.communication_s or 0.0) for job in self.groups[first]])
        longest_s = np.mean([job.step_s for job in self.groups[last]])
        if self.apart:
            longest_s = np.mean([max(job.communication_s or 0.0, job.allreduce_s or 0.0) for job in self.groups[last]])
        pair = Layout(nodes=2, ranks=2 * last.ranks // last.nodes, local_batch=first.local_batch)
        seconds = computing_s if name in (*COMPUTING, *HIDES) else longest_s / 3
        return float(max(seconds, SMALL * FLOOR * computing_s) / (abs(column(name, pair, self.bytes)) or 1.0))

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
        rows, values, deviations, belongs = [], [], [], []
        for number, part in enumerate(parts):
            for layout, times, scale in self.layouts(part):
                rows.append([column(name, layout, self.bytes) if name in part.columns else 0.0 for name in names])
                values.append(times.mean())
                belongs.append(number)
                deviations.append(self.noise[part.name][0] * scale / math.sqrt(len(times)))
        return Account(tuple(parts), names, np.array(rows), np.array(values), np.array(deviations), np.array(belongs))


@dataclass(frozen=True, eq=False)
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
    belongs: np.ndarray
    """(observations,) numbers of the parts."""

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
