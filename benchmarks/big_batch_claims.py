"""Numbers and claims from the runs of big_batch_convex.py: which claims hold, and which do not.

    claim                                                                     of
    a   the batch never shrinks                                               each step of each run
    b   10 and 90 % of the true signal-to-noise within SNR_BAND               each rule and first step, batches below N
        SGD's falls below SGD_SNR by the last pass                            its best learning rate; each of them
    c   geometric mean of the gap over first steps and seeds is TIMES_BETTER  each rule with a search
        below the median of SGD's learning rates
    d   at least TIMES_FEWER times fewer updates than SGD                     each run of those rules

Signal-to-noise is K |grad l|^2 / tr Var of the batch K in hand, from the gradients of all N samples.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

SNR_BAND = (0.2, 6.0)
SGD_SNR = 0.05
LOW_SNR = 0.4  # what the test should not let pass
TIMES_BETTER = 10.0
TIMES_FEWER = 10.0
SMALLEST_GAP = 1e-15  # rounding of a loss near 1; below it a gap is no number
NAMES = {"sgd": "SGD", "fixed": "Big Batch, fixed step", "armijo": "Big Batch, Armijo", "bb": "Big Batch, BB"}
SETTING = {"pieces": 8, "theta": 1.0}  # of the table


class Run:
    """A finished run, read from its file."""

    def __init__(self, note: dict[str, Any]) -> None:
        self.note = note
        self.asked: dict[str, Any] = note["asked"]
        steps = {name: np.array(values, dtype=np.float64) for name, values in note["steps"].items()}  # null: nan
        self.steps: dict[str, np.ndarray] = steps
        self.n_samples: int = self.asked["samples"]
        self.updates: int = note["updates"]
        self.passes_touched: float = note["touched"] / self.n_samples
        """Losses computed in the run, with or without gradients, in passes over the data."""

    @property
    def gap(self) -> float:
        """Returns the gap at the end; infinite when the run diverged."""
        return math.inf if self.note["diverged"] or self.note["gap"] is None else float(self.note["gap"])

    def gap_within(self, passes: float) -> float:
        """Returns the gap after so many passes over the data, where losses computed by the search count too."""
        within = np.flatnonzero(self.steps["touched"] <= passes * self.n_samples)
        return self.gap if self.passes_touched <= passes or not math.isfinite(self.gap) else self._gap_at(within[-1])

    def at(self, column: str, passes: np.ndarray) -> np.ndarray:
        """Returns a column of the steps after so many passes of training, in the shape of ``passes``."""
        places = np.searchsorted(self.steps["samples"], passes * self.n_samples, side="right") - 1
        return self.steps[column][places]

    def snr(self, *, ends: bool = True) -> np.ndarray:
        """Returns the signal-to-noise of each step with a batch below N; steps that end an epoch only with ``ends``."""
        ended = self.steps["samples"] % self.n_samples + self.steps["batch"] == self.n_samples
        return self.steps["snr"][(self.steps["batch"] < self.n_samples) & (ends | ~ended)]

    def passed(self, snr: float) -> np.ndarray:
        """Reports for each batch with less signal-to-noise than ``snr`` whether it passed the test as it was."""
        before = np.concatenate([self.steps["batch"][:1], self.steps["global_batch"][:-1]])  # K when the batch was cut
        batch = self.steps["batch"]
        low = self.steps["snr"] * before / batch < snr
        chosen = low & (batch < self.n_samples) & (self.steps["samples"] % self.n_samples + batch < self.n_samples)
        return (batch == before)[chosen]

    def last_snr(self) -> float:
        """Returns the median signal-to-noise over the last pass."""
        last = self.steps["samples"] >= self.steps["samples"][-1] - self.n_samples
        return float(np.median(self.steps["snr"][last]))

    def shrinks(self) -> bool:
        """Reports whether K ever became smaller."""
        return bool((np.diff(self.steps["global_batch"]) < 0).any())

    def _gap_at(self, place: int) -> float:
        return float(self.steps["gap"][place])


def geometric(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(math.log(max(value, SMALLEST_GAP)) for value in values))


def select(runs: Sequence[Run], **asked: Any) -> list[Run]:
    """Returns the runs with these values of ``asked``; fields of SETTING that are not given have its values."""
    wanted = SETTING | asked
    return [run for run in runs if all(run.asked[name] == value for name, value in wanted.items())]


def rates(runs: Sequence[Run], problem: str, rule: str) -> list[float]:
    return sorted({run.asked["rate"] for run in select(runs, problem=problem, rule=rule)})


def problems(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.asked["problem"] for run in runs))


def quantiles(runs: Sequence[Run], *, ends: bool = True) -> tuple[float, float, float]:
    """Returns the 10, 50 and 90 % quantiles of the signal-to-noise over all runs (``Run.snr``)."""
    values = np.concatenate([run.snr(ends=ends) for run in runs])
    low, middle, high = np.nanquantile(values, [0.1, 0.5, 0.9]) if len(values) else [math.nan] * 3
    return float(low), float(middle), float(high)


def sgd_gaps(runs: Sequence[Run], problem: str) -> dict[float, float]:
    """Returns SGD's gap for each learning rate, as a geometric mean over seeds."""
    return {
        rate: geometric([run.gap for run in select(runs, problem=problem, rule="sgd", rate=rate)])
        for rate in rates(runs, problem, "sgd")
    }


def row(runs: Sequence[Run], budget: float) -> dict[str, str]:
    """Returns the columns of one row of the table, from its runs with one seed each."""
    whole = [float(run.steps["samples"][run.steps["batch"] == run.n_samples].min(initial=np.inf)) for run in runs]
    reached = [first / run.n_samples for first, run in zip(whole, runs, strict=True) if math.isfinite(first)]
    return {
        "final gap": number(geometric([run.gap for run in runs])),
        "worst seed": number(max(run.gap for run in runs)),
        "updates": f"{statistics.fmean(run.updates for run in runs):,.0f}",
        "passes, search counted": f"{statistics.fmean(run.passes_touched for run in runs):.0f}",
        f"gap within {budget:g} of them": number(geometric([run.gap_within(budget) for run in runs])),
        "SNR 10 / 50 / 90 %": band(quantiles(runs)),
        "SNR of the last pass": f"{statistics.median(run.last_snr() for run in runs):.3f}",
        "whole set from pass": f"{statistics.fmean(reached):.0f} ({len(reached)} of {len(runs)})"
        if reached
        else "never",
    }


def number(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "diverged"


def table(runs: Sequence[Run], budget: float) -> list[str]:
    lines: list[str] = []
    for problem in problems(runs):
        for rule in NAMES:
            for rate in rates(runs, problem, rule):
                columns = row(select(runs, problem=problem, rule=rule, rate=rate), budget)
                if not lines:
                    lines += [
                        f"| problem | training | step | {' | '.join(columns)} |",
                        "|---" * (3 + len(columns)) + "|",
                    ]
                lines.append(f"| {problem} | {NAMES[rule]} | {rate:g} | {' | '.join(columns.values())} |")
    return lines


def verdict(holds: bool) -> str:
    return "holds" if holds else "does NOT hold"


def claims(runs: Sequence[Run], budget: float) -> list[str]:
    """Returns a line for each claim; gaps at equal work are compared after ``budget`` passes over the data."""
    return [*claim_batches(runs), *claim_noise(runs), *claim_gaps(runs, budget), *claim_updates(runs)]


def claim_batches(runs: Sequence[Run]) -> list[str]:
    grown = [run for run in runs if run.asked["rule"] != "sgd"]
    bad = sum(run.shrinks() for run in grown)
    short = np.concatenate([run.steps["batch"][1:] < run.steps["global_batch"][:-1] for run in grown])
    return [
        f"- (a) {verdict(bad == 0)}: K shrinks in {bad} of {len(grown)} runs. Where an epoch has less than K left,"
        f" its last step is shorter than K: {100 * short.mean():.0f} % of all steps."
    ]


def claim_noise(runs: Sequence[Run]) -> list[str]:
    lines = []
    for problem in problems(runs):
        for rule in ("fixed", "armijo", "bb"):
            ways = [select(runs, problem=problem, rule=rule, rate=rate) for rate in rates(runs, problem, rule)]
            bands = [quantiles(way) for way in ways]
            low, middle, high = quantiles([run for way in ways for run in way])
            holds = all(SNR_BAND[0] <= band[0] and band[2] <= SNR_BAND[1] for band in bands)
            each = ", ".join(f"{b[0]:.3f} to {b[2]:.2f}" for b in bands)
            text = f"{each}; together {low:.2f} to {high:.2f}, median {middle:.2f}"
            lines.append(f"- (b) {verdict(holds)} for {problem}, {NAMES[rule]}: {text}.")
        lines += claim_sgd_noise(runs, problem)
    return lines


def claim_sgd_noise(runs: Sequence[Run], problem: str) -> list[str]:
    by_rate = {
        rate: statistics.median(run.last_snr() for run in select(runs, problem=problem, rule="sgd", rate=rate))
        for rate in rates(runs, problem, "sgd")
    }
    gaps = sgd_gaps(runs, problem)
    best = min(gaps, key=lambda rate: gaps[rate])
    above = [f"{rate:g}" for rate, value in by_rate.items() if value >= SGD_SNR]
    shown = ", ".join(f"{value:.3f} at {rate:g}" for rate, value in by_rate.items())
    return [
        f"- (b) {verdict(by_rate[best] < SGD_SNR)} for {problem}, SGD at its best learning rate, {best:g}:"
        f" {by_rate[best]:.3f} in the last pass.",
        f"- (b) {verdict(not above)} for {problem}, SGD at every learning rate: {shown};"
        f" {SGD_SNR:g} or more at {', '.join(above) or 'none'}.",
    ]


def claim_gaps(runs: Sequence[Run], budget: float) -> list[str]:
    lines = []
    for problem in problems(runs):
        grid = sgd_gaps(runs, problem)
        median, best = statistics.median(grid.values()), min(grid, key=lambda rate: grid[rate])
        for rule in ("armijo", "bb"):
            gap = geometric([run.gap for run in select(runs, problem=problem, rule=rule)])
            within = geometric([run.gap_within(budget) for run in select(runs, problem=problem, rule=rule)])
            lines.append(
                f"- (c) {verdict(gap * TIMES_BETTER <= median)} for {problem}, {NAMES[rule]}: {gap:.1e}, SGD's median"
                f" {number(median)}: {median / gap:.0f} times better. SGD's best, at {best:g}: {grid[best]:.1e},"
                f" {grid[best] / gap:.1f} times the gap. Search counted, {budget:g} passes: {within:.1e}, the median"
                f" {median / within:.1f} times, the best {grid[best] / within:.2f} times that."
            )
    return lines


def claim_updates(runs: Sequence[Run]) -> list[str]:
    lines = []
    for problem in problems(runs):
        sgd = max(run.updates for run in select(runs, problem=problem, rule="sgd"))
        for rule in ("fixed", "armijo", "bb"):
            updates = [run.updates for run in select(runs, problem=problem, rule=rule)]
            text = (
                f"{min(updates)} to {max(updates)} updates, SGD {sgd:,}: {sgd / max(updates):.1f} times fewer or more"
            )
            lines.append(f"- (d) {verdict(max(updates) * TIMES_FEWER <= sgd)} for {problem}, {NAMES[rule]}: {text}.")
    return lines


def setting_table(runs: Sequence[Run], ranks: int) -> list[str]:
    """Returns the table of other numbers of pieces and other theta: signal-to-noise, gap and updates."""
    heading = ["problem", "rule", "pieces of a batch", "theta", "SNR 10 / 50 / 90 %", "without epochs' ends"]
    heading += [f"passed below {LOW_SNR:g}", "final gap", "updates"]
    lines = [f"| {' | '.join(heading)} |", "|---" * len(heading) + "|"]
    chosen = [run for run in runs if run.asked["rule"] in ("armijo", "bb") and run.asked["rate"] == 1.0]
    keys = dict.fromkeys(tuple(run.asked[name] for name in ("problem", "rule", *SETTING)) for run in chosen)
    for problem, rule, pieces, theta in sorted(keys, key=lambda key: (key[0] != "ridge", key[1], -key[3], key[2])):
        way = select(chosen, problem=problem, rule=rule, pieces=pieces, theta=theta)
        shown = [problem, NAMES[rule], f"{pieces * ranks}", f"{theta:g}"]
        passed = np.concatenate([run.passed(LOW_SNR) for run in way])
        share = f"{100 * passed.mean():.0f} % of {len(passed)}" if len(passed) else "none there"
        shown += [band(quantiles(way)), band(quantiles(way, ends=False)), share]
        shown += [number(geometric([run.gap for run in way]))]
        lines.append(f"| {' | '.join([*shown, f'{statistics.fmean(run.updates for run in way):.0f}'])} |")
    return lines


def band(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in values)
