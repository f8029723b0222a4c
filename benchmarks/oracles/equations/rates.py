"""Learning rates over base learning rate, as functions of the epoch e and of k = batch / reference batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def ramp(e: float, length: float, start: float = 0.0) -> float:
    """Returns the warm-up: from ``start`` at epoch 0 to 1 at epoch ``length``."""
    return 1.0 if e >= length else start + (1 - start) * e / length


def legw(e: float, k: float, w0: float) -> float:
    """Returns sqrt(k), warmed up over w0 k epochs: You et al. 1901.08256."""
    return math.sqrt(k) * ramp(e, w0 * k)


def goyal(e: float, k: float, epochs: float = 5.0) -> float:
    """Returns k, warmed up from 1 over 5 epochs: Goyal et al. 1706.02677, section 2.2."""
    return k * ramp(e, epochs, 1 / k)


def poly(e: float, begin: float, end: float, power: float = 2.0) -> float:
    """Returns (1 - t)^power, t from 0 to 1 between two epochs."""
    return (1 - _part(e, begin, end)) ** power


def cosine(e: float, begin: float, end: float, final: float = 0.0) -> float:
    """Returns final + (1 - final) (1 + cos(pi t)) / 2, t from 0 to 1 between two epochs: 1608.03983."""
    return final + (1 - final) * (1 + math.cos(math.pi * _part(e, begin, end))) / 2


def step(e: float, milestones: Sequence[float], gamma: float) -> float:
    """Returns gamma to the number of milestones passed."""
    return gamma ** sum(e >= milestone for milestone in milestones)


def rise(e: float, end: float, start: float = 1e-5) -> float:
    """Returns start^(1 - e / end): Kim et al. 2107.05855, from ``start`` at epoch 0 to 1 at ``end``."""
    return start ** (1 - e / end)


def valley(x: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    """Returns P that the losses were lower before, and the place of their minimum: Kim et al. 2107.05855.

    Of the Gaussian process with length 0.2 and the mean, variance and noise that make the losses likeliest, with every
    matrix inverted as it stands. x goes from 0 to 1, losses count in their standard deviation; 100 of them at most.
    """
    (there, y), at = torch.tensor([x, losses], dtype=torch.float64), torch.linspace(0, 1, 500, dtype=torch.float64)
    y, ones, unit = (y - y.mean()) / y.std(correction=0), torch.ones_like(y), torch.eye(len(x), dtype=torch.float64)

    def k(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.exp(-((a[:, None] - b[None, :]) ** 2) / (2 * 0.2**2))

    best = (math.inf, 0.0, 0.0, 0.0)
    for noise in 10.0 ** torch.linspace(-4, 4, 81, dtype=torch.float64):
        matrix = k(there, there) + noise * unit
        inverse = torch.linalg.inv(matrix)
        mean = (ones @ inverse @ y) / (ones @ inverse @ ones)
        scale = (y - mean) @ inverse @ (y - mean) / len(x)
        unlikely = len(x) * torch.log(scale) + torch.logdet(matrix)
        best = min(best, (float(unlikely), float(mean), float(scale), float(noise)))
    _, c, s, r = best
    onto = k(at, there) @ torch.linalg.inv(k(there, there) + r * unit)
    curve, covariance = c + onto @ (y - c), s * (k(at, at) - onto @ k(there, at))
    difference = covariance.diagonal() + covariance[-1, -1] - 2 * covariance[:, -1]
    rises = (curve[-1] - curve) / torch.sqrt(difference + 1e-4)
    return float(torch.special.ndtr(rises[:-1].max())), float(at[curve.argmin()])


def gain(variance: float, signal: float, scale: float, reference: float, population: int) -> float:
    """Returns r = E|g_B0|^2 / E|g_(S B0)|^2, from 1 to S: Johnson et al. 2007.05105, section 3.

    Of N samples without replacement, E|g_B|^2 = |grad l|^2 + V (1/B - 1/N).
    """
    common, noise = max(signal - variance / population, 0.0), max(variance, 0.0) / reference
    return (common + noise) / (common + noise / scale)


def _part(e: float, begin: float, end: float) -> float:
    return min(1.0, max(0.0, (e - begin) / (end - begin)))
