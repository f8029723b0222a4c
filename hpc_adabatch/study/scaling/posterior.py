"""The coefficients of columns, none below 0, drawn as often as the jobs leave them likely.

    y = A c + s e     mean times y, normal errors e in units of each time's scale, s of each part that was measured
    s^2               f S^2 / chi^2(f) beforehand: S of repeats with f degrees of freedom; rests of the fit count too
    c                 Gamma(1/2) of given means beforehand: a total divided by Dirichlet(1/2), Jeffreys' prior of parts

Where columns are told apart, a prediction over the draws is Student's interval. Where they are not, it weighs the
mixtures that fit, while profile.py tells how far the last of them reaches. The prior decides what jobs leave open: the
interval is right for 95 % of machines in all, and for fewer of a kind that is rare beforehand
(benchmarks/prediction_intervals.py).

The draws are a Gibbs sampler's (Gelman et al. 2013, Bayesian Data Analysis, chapter 11). Gamma(1/2) is an exponential
whose rate is random, 1 + Gamma(1/2) / c given c. So along a line the logarithm of the density is a parabola, and a
slice (Neal 2003, https://doi.org/10.1214/aos/1056562461) is an interval in closed form. Lines are the axes of the
precision, because columns go up and down against each other, and those of the columns.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

CHAINS = 256
STARTS = 24
SWEEPS, KEPT = 30, 8  # the last ones of all sweeps
SHAPE = 0.5  # of the prior's Gamma distribution


def draws(
    rows: np.ndarray,
    values: np.ndarray,
    scales: np.ndarray,
    parts: np.ndarray,
    noise: np.ndarray,
    degrees: np.ndarray,
    means: np.ndarray,
    floor: float,
    seed: int = 0,
) -> np.ndarray:
    """Returns draws of the coefficients. Shape (draws, columns).

    Args:
        rows: (observations, columns).
        values: (observations,) mean times.
        scales: (observations,) what the noise is a part of, over the root of the jobs.
        parts: (observations,) number of the part that each is a time of.
        noise: (parts,) standard deviation between jobs.
        degrees: (parts,) degrees of freedom of the noise, above 0.
        means: (columns,) means of the prior, above 0.
        floor: The least standard deviation.
        seed: The seed of the draws.
    """
    draw, belongs = np.random.default_rng(seed), np.eye(len(noise))[parts]  # (observations, parts)
    units = rows * means / scales[:, None]
    targets = (values / scales)[:, None]
    weighted = units / noise[parts][:, None]
    order = np.diag(1 + np.arange(len(means)))  # where no time tells columns apart, axes are not left to rounding
    lines = np.vstack([np.linalg.eigh(weighted.T @ weighted + order)[1].T, np.eye(len(means))])  # (lines, columns)
    along = lines @ units.T
    c = np.maximum(_starts(weighted, values / scales / noise[parts], draw), 1e-6)  # (columns, chains), in means
    known, degrees_after = (degrees * noise**2)[:, None], degrees + belongs.sum(axis=0)
    found = []
    for sweep in range(SWEEPS):
        left = targets - units @ c
        variance = (known + belongs.T @ left**2) / draw.chisquare(degrees_after[:, None], (len(noise), CHAINS))
        precision = 1 / np.maximum(variance, floor**2)[parts]  # (observations, chains)
        rates = SHAPE * (1 + draw.gamma(1 - SHAPE, size=c.shape) / np.maximum(SHAPE * c, 1e-12))
        for n in draw.permutation(len(lines)):
            bend = along[n] ** 2 @ precision
            slope = along[n] @ (precision * left) - lines[n] @ rates
            step = _slice(c, lines[n], bend, slope, draw)
            c = np.maximum(c + lines[n][:, None] * step, 0.0)
            left = left - along[n][:, None] * step
        if sweep >= SWEEPS - KEPT:
            found.append(c.T * means)
    return np.concatenate(found)


def _starts(rows: np.ndarray, values: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Returns a start for each chain, all over the mixtures that fit: between two that are as lopsided as any."""
    lopsided = []
    for _ in range(STARTS):
        dear = draw.exponential(size=rows.shape[1])  # among mixtures that fit alike, the one of the least cost
        lopsided.append(nnls(np.vstack([rows, dear]), np.append(values, 0.0))[0])
    one, other = (np.array(lopsided)[draw.integers(STARTS, size=CHAINS)].T for _ in range(2))
    part = draw.random(CHAINS)
    return part * one + (1 - part) * other


def _slice(
    c: np.ndarray, line: np.ndarray, bend: np.ndarray, slope: np.ndarray, draw: np.random.Generator
) -> np.ndarray:
    """Returns a step along a line for each chain, uniform where slope s - bend s^2 / 2 is above a drawn level."""
    level = -draw.exponential(size=len(bend))
    root = np.sqrt(slope**2 - 2 * bend * level)
    far = slope + np.where(slope >= 0, root, -root)  # no difference of numbers that are nearly equal
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = far / bend, 2 * level / far
    up, down = line > 1e-9, line < -1e-9
    low = np.maximum(np.minimum(one, other), (-c[up] / line[up, None]).max(axis=0, initial=-np.inf))
    high = np.minimum(np.maximum(one, other), (-c[down] / line[down, None]).min(axis=0, initial=np.inf))
    step = low + (high - low) * draw.random(len(bend))
    return np.where(np.isfinite(step), step, 0.0)
