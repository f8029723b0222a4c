"""Columns that a study's data cannot separate, in words and numbers.

    share          a column's seconds of the step at the largest node count, with all that the data leave open
    open           a share that may be nothing, and may be something: several of them cannot be told apart
    take turns     coefficients that go up and down against each other when jobs are drawn again, within node counts

A prediction weighs what is open by how likely it is (posterior.py); this says how far it reaches, and what would narrow
it: another node count tells ring bytes, ring latency and tree apart, another local batch tells samples from serial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .columns import COMPUTING
from .model import Account, ScalingModel
from .profile import Profile
from .statistics import Interval

RESAMPLES = 200
TAKE_TURNS = -0.9  # correlation
NOTHING = 0.05  # of the high end: a low end below is as good as 0
NOTABLE = 0.02  # of the step: columns that may be above are worth a word


@dataclass(frozen=True, kw_only=True)
class Share:
    """A column's seconds of the step at the largest node count; below 0 for what computing hides."""

    column: str
    """The column's name."""
    seconds: Interval
    """The seconds, with all that the data leave open."""


def shares(model: ScalingModel) -> list[Share]:
    """Returns the shares of the model's first account; they have intervals where jobs were repeated."""
    account, found = model.accounts[0], []
    row = account.row(model, model.largest)
    for n in np.flatnonzero(row):
        x = np.where(np.arange(len(row)) == n, row, 0.0)
        seconds = Interval(value=account.profile.value(x))
        if model.degrees:
            low, high = sorted(np.sign(row[n]) * end for end in account.profile.interval(np.abs(x), model.quantile()))
            seconds = Interval(value=seconds.value, low=float(low), high=float(high))
        found.append(Share(column=account.names[n], seconds=seconds))
    return found


def statements(model: ScalingModel) -> list[str]:
    """Returns what the data cannot separate, in sentences."""
    lines = []
    if not model.apart:
        lines.append("communication was not measured apart: step times alone cannot tell serial from bandwidth")
    same = len({layout.local_batch for layout in model.groups}) == 1
    if same:
        lines.append("the local batch was the same everywhere: samples and serial are one number, for this batch")
    if model.degrees == 0:
        return [*lines, "one job at each node count: nothing is known of the spread, so there are no intervals"]
    step_s = float(np.mean([job.step_s for job in model.groups[model.largest]]))
    either = [share for share in _open(model, step_s) if not (same and share.column in COMPUTING)]
    if either:
        lines.append(_in_words(model, either, step_s))
    said = {share.column for share in either} | (set(COMPUTING) if same else set())
    return lines + [
        f"{one} and {other} take turns: correlation {r:.2f} over resampled jobs"
        for one, other, r in correlations(model)
        if r <= TAKE_TURNS and not {one, other} <= said
    ]


def correlations(model: ScalingModel, seed: int = 0) -> list[tuple[str, str, float]]:
    """Returns (column, column, correlation of their coefficients over jobs drawn again within node counts)."""
    account, draw = model.accounts[0], np.random.default_rng(seed)
    found = np.array([_resampled(model, account, draw) for _ in range(RESAMPLES)])  # (resamples, columns)
    varying = [n for n in range(found.shape[1]) if np.ptp(found[:, n]) > 1e-9 * np.abs(found[:, n]).max() > 0]
    return [
        (account.names[n], account.names[m], float(np.corrcoef(found[:, n], found[:, m])[0, 1]))
        for n, m in combinations(varying, 2)
    ]


def _resampled(model: ScalingModel, account: Account, draw: np.random.Generator) -> np.ndarray:
    """Returns (columns,) coefficients after drawing as many jobs again at each layout, all parts of a job together."""
    again = {layout: draw.integers(len(group), size=len(group)) for layout, group in model.groups.items()}
    means = [times[again[layout]].mean() for part in account.parts for layout, times, _ in model.layouts(part)]
    return Profile(account.rows, np.array(means), account.deviations).solution


def _open(model: ScalingModel, step_s: float) -> list[Share]:
    ends = [(share, share.seconds.low or 0.0, share.seconds.high or 0.0) for share in shares(model)]
    return [share for share, low, high in ends if 0 <= low <= NOTHING * high and high > NOTABLE * step_s]


def _in_words(model: ScalingModel, either: Sequence[Share], step_s: float) -> str:
    counts = ", ".join(str(layout.nodes) for layout in model.groups)
    names = " and ".join(share.column for share in either)
    may = f"{names} apart: each may be nothing" if len(either) > 1 else f"{names} from nothing: it may be that"
    most = ", ".join(f"{share.column} {1000 * (share.seconds.high or 0):.3g} ms" for share in either)
    whole = f"of a step of {1000 * step_s:.3g} ms on {model.largest.nodes} nodes"
    return f"nodes {counts} cannot tell {may}, or at most {most} {whole}"
