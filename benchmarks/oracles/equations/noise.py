"""How noisy a gradient is, computed from the gradient of every sample.

x_1 ... x_B     gradients of the samples of a batch, drawn without replacement from N       (B, parameters)
g               their mean
pieces          the batch cut into n parts: piece i has b_i samples, whose mean gradient is g_i
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

Pieces = Sequence[torch.Tensor]  # gradients of the samples of each piece, (b_i, parameters)


def mean(pieces: Pieces) -> torch.Tensor:
    """Returns g."""
    return torch.cat(list(pieces)).mean(0)


def variance_of_samples(gradients: torch.Tensor) -> float:
    """Returns V_B = 1 / (B - 1) sum |x_j - g|^2: De et al. 1610.05792, section 3."""
    return float((gradients - gradients.mean(0)).pow(2).sum() / (len(gradients) - 1))


def variance(pieces: Pieces) -> float:
    """Returns 1 / (n - 1) sum b_i |g_i - g|^2, which is V_B where every piece is one sample."""
    g = mean(pieces)
    return sum(len(piece) * float((piece.mean(0) - g).pow(2).sum()) for piece in pieces) / (len(pieces) - 1)


def signal(pieces: Pieces, population: int) -> float:
    """Returns |g|^2 - V (1/B - 1/N): De et al., section 3, for a batch without replacement from N samples."""
    samples = sum(map(len, pieces))
    return float(mean(pieces).pow(2).sum()) - variance(pieces) * (1 / samples - 1 / population)


def inner_variance(pieces: Pieces) -> float:
    """Returns Var(g_i . g) of one sample: 1 / (n - 1) sum b_i ((g_i - g) . g)^2."""
    g = mean(pieces)
    return sum(len(piece) * float((piece.mean(0) - g) @ g) ** 2 for piece in pieces) / (len(pieces) - 1)


def orthogonal_variance(pieces: Pieces) -> float:
    """Returns Var(g_i - (g_i . g / |g|^2) g) of one sample, whose mean is 0."""
    g = mean(pieces)
    across = [piece.mean(0) - (piece.mean(0) @ g) / (g @ g) * g for piece in pieces]
    return sum(len(p) * float(a.pow(2).sum()) for p, a in zip(pieces, across, strict=True)) / (len(pieces) - 1)


def weight(pieces: Pieces) -> float:
    """Returns B (n - 1) / n: what a step of B samples in n pieces counts in an average."""
    return sum(map(len, pieces)) * (len(pieces) - 1) / len(pieces)


def average(values: Sequence[float], weights: Sequence[float]) -> float:
    """Returns the weighted mean."""
    return sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)


def faded(values: Sequence[float], ages: Sequence[float], window: float) -> float:
    """Returns the mean of values of like steps that lie ``ages`` samples back, weighted by exp(-age / window)."""
    return average(values, [math.exp(-age / window) for age in ages])


def interval(variances: Sequence[float], signals: Sequence[float]) -> tuple[float, float]:
    """Returns the least and the largest ratio r >= 0 that a t-test of ``variance - r signal`` does not reject at 5 %.

    Fieller 1954 solves a quadratic for it; here the test itself is inverted, by scan and bisection. Squared lengths are
    not negative: a mean signal below 0 counts as 0, with the scatter that it has.
    """
    from scipy.optimize import brentq  # here, because their import takes seconds
    from scipy.stats import ttest_1samp

    def margin(r: float) -> float:
        return float(ttest_1samp([v - r * s for v, s in zip(variances, signals, strict=True)], 0.0).pvalue) - 0.05

    below = min(0.0, sum(signals) / len(signals))
    signals = [signal - below for signal in signals]
    typical = abs(sum(variances)) / (abs(sum(signals)) if below == 0 else max(map(abs, signals)))
    grid = [0.0, *(typical * 10 ** (power / 20) for power in range(-100, 121))]
    inside = [margin(r) >= 0 for r in grid]
    kept = [place for place, holds in enumerate(inside) if holds]
    if not kept:
        return math.nan, math.nan
    first, last = kept[0], kept[-1]
    exact = {"xtol": 1e-300, "rtol": 1e-14}
    low = 0.0 if first == 0 else brentq(margin, grid[first - 1], grid[first], **exact)
    return low, math.inf if last == len(grid) - 1 else brentq(margin, grid[last], grid[last + 1], **exact)


def cosine_of_halves(gradients: torch.Tensor, halves: Iterable[Sequence[int]]) -> float:
    """Returns the mean of <g_A, g_B> over that of |g_A|^2, for halves A of the batch and the rest B: SimiGrad."""
    along = square = 0.0
    everyone = set(range(len(gradients)))
    for half in halves:
        a, b = gradients[list(half)].mean(0), gradients[sorted(everyone - set(half))].mean(0)
        along, square = along + float(a @ b), square + float(a @ a + b @ b) / 2
    return along / square
