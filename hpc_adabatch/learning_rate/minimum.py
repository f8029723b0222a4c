"""Whether the minimum of a noisy curve lies behind, and where it was: a Gaussian process, asked several times.

Kim, Kim, Kim, Lee & Kim 2021 (AutoWU), https://arxiv.org/abs/2107.05855, with the constants of the authors' code.

    y(x) = c + f(x) + noise        x from 0 to 1; noise of variance s r
                                   f(x), f(x') of covariance s k, k = exp(-(x - x')^2 / (2 0.2^2))
    fit      c, s and r of the largest likelihood, for at most 100 points
    ask      5 times, given at most 500 points each: the mean and the covariance of f at 500 places of [0, 1]

        P = max_x Phi((mean f(1) - mean f(x)) / sqrt(var(f(1) - f(x)) + 1e-4))        that f was lower before

Given r, the largest likelihood has a closed form for c and s, and r is the best of a grid; the authors take 100 steps
of Adam. Points are drawn by a seed. y counts in units of its standard deviation, so that 1e-4 fits any loss.

Not here: what is done where the minimum lies behind (auto_warmup.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LENGTH = 0.2
TESTS, FIT_POINTS, POINTS, PLACES = 5, 100, 500, 500
RATIOS = 10.0 ** np.linspace(-4, 4, 81)  # r


@dataclass(frozen=True)
class Prior:
    """The constants of a Gaussian process."""

    mean: float
    """The mean of the curve (c)."""
    variance: float
    """The variance of the curve (s)."""
    noise: float
    """The variance of the noise, as a multiple of that of the curve (r)."""


@dataclass(frozen=True)
class Minimum:
    """The answers of several tests to whether a curve's minimum lies behind."""

    probabilities: tuple[float, ...]
    """The probability of each test that the curve was lower than it is at its end."""
    place: float
    """The mean place of the minimum, from 0 to 1."""


def kernel(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the correlation of the curve at each pair of places. Shape (x, other)."""
    correlation: np.ndarray = np.exp(-((x[:, None] - other[None, :]) ** 2) / (2 * LENGTH**2))
    return correlation


def fit(x: np.ndarray, y: np.ndarray) -> Prior:
    """Returns the constants of the largest likelihood.

    Args:
        x: The places of the points, from 0 to 1.
        y: Their values, which are not all the same.
    """
    found, turned = np.linalg.eigh(kernel(x, x))
    values, ones = turned.T @ y, turned.T @ np.ones_like(y)
    spread = np.maximum(found, 0.0)[None, :] + RATIOS[:, None]  # (ratios, points)
    means = (values * ones / spread).sum(1) / (ones**2 / spread).sum(1)
    variances = ((values - means[:, None] * ones) ** 2 / spread).mean(1)
    best = int(np.argmin(len(y) * np.log(variances) + np.log(spread).sum(1)))  # -2 log likelihood, but for a constant
    return Prior(float(means[best]), float(variances[best]), float(RATIOS[best]))


def posterior(prior: Prior, x: np.ndarray, y: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean of the curve at each place, and the variance of its difference to the last place.

    Args:
        prior: The constants of the process.
        x: The places of the points that are known.
        y: Their values.
        places: The places that are asked for.
    """
    known = kernel(x, x) + prior.noise * np.eye(len(x))
    across = kernel(x, places)
    solved = np.linalg.solve(known, np.column_stack((across, y - prior.mean)))
    mean = prior.mean + across.T @ solved[:, -1]
    variance = 1.0 - (across * solved[:, :-1]).sum(0)
    with_last = kernel(places, places[-1:])[:, 0] - across.T @ solved[:, -2]
    return mean, prior.variance * np.maximum(variance + variance[-1] - 2 * with_last, 0.0)


def past_minimum(x: np.ndarray, y: np.ndarray, seed: int) -> Minimum:
    """Returns whether a curve was lower than it is at its end, and where it was lowest.

    Args:
        x: The places of its points, from 0 to 1.
        y: Their values.
        seed: The seed by which points are drawn.
    """
    scale = float(np.std(y))
    if not scale > 0:
        return Minimum((0.0,) * TESTS, 1.0)
    values, draw, places = (y - np.mean(y)) / scale, np.random.default_rng(seed), np.linspace(0.0, 1.0, PLACES)

    def some(most: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.sort(draw.choice(len(x), most, replace=False)) if len(x) > most else np.arange(len(x))
        return x[chosen], values[chosen]

    prior, probabilities, minima = fit(*some(FIT_POINTS)), [], []
    for _ in range(TESTS):
        mean, variance = posterior(prior, *some(POINTS), places)
        rises = (mean[-1] - mean[:-1]) / np.sqrt(variance[:-1] + 1e-4)
        probabilities.append((1.0 + math.erf(float(rises.max()) / math.sqrt(2.0))) / 2.0)
        minima.append(places[np.argmin(mean)])
    return Minimum(tuple(probabilities), float(np.mean(minima)))
