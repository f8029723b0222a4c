"""Learning rates over base learning rate, as functions of the epoch e and of k = batch / reference batch."""

from __future__ import annotations

import math
from collections.abc import Sequence


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


def gain(variance: float, signal: float, scale: float, reference: float, population: int) -> float:
    """Returns r = E|g_B0|^2 / E|g_(S B0)|^2, from 1 to S: Johnson et al. 2007.05105, section 3.

    Of N samples without replacement, E|g_B|^2 = |grad l|^2 + V (1/B - 1/N).
    """
    common, noise = max(signal - variance / population, 0.0), max(variance, 0.0) / reference
    return (common + noise) / (common + noise / scale)


def _part(e: float, begin: float, end: float) -> float:
    return min(1.0, max(0.0, (e - begin) / (end - begin)))
