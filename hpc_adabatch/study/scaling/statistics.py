"""Speed-up and efficiency with intervals over jobs.

    T(N)         seconds of a step (or of a run) on N nodes, one number a job
    strong       the global batch stays: speed-up T(N0)/T(N), efficiency T(N0)/T(N) * N0/N
    weak         the local batch stays:  efficiency T(N0)/T(N), scaled speed-up T(N0)/T(N) * N/N0
    interval     Student's t on the difference of mean logarithms, with Welch's degrees of freedom

The unit is the job. Steps of one job share its nodes, its neighbours on the network and its warm caches, so their
scatter says little about the next job: bars made from one job's steps, said to cover 95 %, cover the truth in less than
half of the cases (tests/study/scaling/test_statistics.py). Means are geometric: times are positive, and their errors
factors.

Welch 1947, The generalization of Student's problem, https://doi.org/10.1093/biomet/34.1-2.28.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
LEAST_JOBS = 3  # with two, Student's t is 12.7 standard errors: a bar that says nothing


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number with its 95 % confidence interval."""

    value: float
    """The number."""
    low: float | None = None
    """The lower end; None where there are too few jobs to say."""
    high: float | None = None
    """The upper end; None where there are too few jobs to say."""

    def times(self, factor: float) -> Interval:
        """Returns the interval in another unit; the factor is positive."""
        low, high = (None if end is None else factor * end for end in (self.low, self.high))
        return Interval(value=factor * self.value, low=low, high=high)


def mean(seconds: Sequence[float]) -> Interval:
    """Returns the geometric mean over jobs; with an interval from three jobs on.

    Args:
        seconds: One number a job, above 0.
    """
    centre, variance = _of_logarithms(seconds)
    return _interval(centre, variance, len(seconds) - 1.0, enough=len(seconds) >= LEAST_JOBS)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Returns the ratio of two geometric means over different jobs, by Welch's t on logarithms.

    Args:
        numerators: One number a job, above 0.
        denominators: One number a job, above 0; as many or not.
    """
    (above, upper), (below, lower) = _of_logarithms(numerators), _of_logarithms(denominators)
    jobs = min(len(numerators), len(denominators))
    degrees = 1.0
    if jobs >= LEAST_JOBS and upper + lower > 0:
        squares = upper**2 / (len(numerators) - 1) + lower**2 / (len(denominators) - 1)
        degrees = (upper + lower) ** 2 / squares
    return _interval(above - below, upper + lower, degrees, enough=jobs >= LEAST_JOBS)


def both(mode: str, against: Interval, growth: float) -> tuple[Interval, Interval]:
    """Returns speed-up and efficiency, from T(N0)/T(N) and N/N0.

    Raises:
        ValueError: Neither strong nor weak scaling.
    """
    if mode not in ("strong", "weak"):
        raise ValueError(f"speed-up is that of strong or weak scaling, not of {mode}")
    return (against, against.times(1 / growth)) if mode == "strong" else (against.times(growth), against)


def _of_logarithms(seconds: Sequence[float]) -> tuple[float, float]:
    """Returns the mean of the logarithms, and the variance of that mean."""
    logarithms = np.log(np.asarray(seconds, dtype=np.float64))
    count = len(logarithms)
    return float(logarithms.mean()), float(logarithms.var(ddof=1)) / count if count > 1 else 0.0


def _interval(centre: float, variance: float, degrees: float, *, enough: bool) -> Interval:
    if not enough:
        return Interval(value=math.exp(centre))
    reach = float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * math.sqrt(variance)
    return Interval(value=math.exp(centre), low=math.exp(centre - reach), high=math.exp(centre + reach))
