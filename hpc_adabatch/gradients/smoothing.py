"""Variance and signal averaged over steps, with intervals of the signal and of their ratio.

    weight of a step that lies s samples back     p exp(-s / window): p from the step's samples and pieces (noise.py),
                                                  window in samples, at least ten measurements long
    average                                       numerator and denominator separately; divided only when read
    interval                                      Fieller's, from the scatter of the steps (weighted_mean.py), at 95 %

Clipping the signal of each step at 0 before averaging would be far off (a true signal of 1 at variance 1000 and two
pieces would read 28), so nothing is clipped before it is read. If the signal cannot be distinguished from zero, the
interval has no upper end: Fieller 1954, https://doi.org/10.1111/j.2517-6161.1954.tb00159.x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import real, require
from .noise import Measurement, noise_of_mean, samples_for
from .weighted_mean import WeightedMean

CONFIDENCE = 0.95
LEAST_MEASUREMENTS = 10  # that a window spans: a batch may grow until few of them fit into the samples
LEAST = 1e-290  # what is smaller counts as 0: its products with numbers of its own kind do


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate of the gradient's noise, averaged over steps."""

    variance: float
    """Variance of one sample's gradient, summed over parameters."""
    signal: float
    """Squared length of the training set's gradient, unbiased; may be negative if it is small."""
    signal_margin: float = math.inf
    """Half of the signal's 95 % interval: signal - signal_margin to signal + signal_margin."""
    mean_square: float
    """Squared length of the last step's mean gradient: the raw signal of the published tests."""
    inner_variance: float | None = None
    """Variance of one sample's gradient along the mean gradient; None if it is not measured."""
    orthogonal_variance: float | None = None
    """Variance of one sample's gradient across the mean gradient; None if it is not measured."""
    loss: float | None = None
    """Mean loss, averaged over the same window; None if it is not known."""
    low: float
    """Lower end of the noise scale's 95 % interval, in samples."""
    high: float
    """Upper end of that interval, in samples; infinite if the signal cannot be distinguished from zero."""
    steps: float
    """Number of independent steps that would give an average as exact as this one."""
    samples: int
    """Samples that the measurements have covered so far."""
    full: bool
    """True once a whole window has been covered."""
    population: int | None = None
    """Samples of the training set, of which a batch holds none twice; None where samples are drawn independently."""

    @property
    def noise_scale(self) -> float:
        """Returns variance / signal, in samples; infinite if the signal is not positive."""
        return self.variance / self.signal if self.signal > 0 else math.inf

    @property
    def disjoint_signal(self) -> float:
        """Returns the mean inner product of the gradients of two batches that share no sample: signal - variance / N.

        Rules that compare the squared lengths of batches' gradients need it: E|g|^2 = variance / B + disjoint_signal.
        """
        return self.signal + noise_of_mean(self.variance, math.inf, self.population)

    def batch_with(self, noise: float) -> float:
        """Returns the batch whose mean gradient has this noise, E|g - grad l|^2; the training set at most."""
        return samples_for(self.variance, noise, self.population)


class Smoother:
    """An average of measurements over a window of samples.

    Args:
        window_samples: Length of the window, in samples.

    Raises:
        InputError: The window is not longer than 0.
    """

    def __init__(self, window_samples: float) -> None:
        # here, so that neither runs without measurements nor the first measured step pay for the import
        from scipy.special import stdtrit  # not scipy.stats, whose import takes a second

        require(
            real(window_samples) > 0,
            "policy.window",
            window_samples,
            "more than 0 samples",
            "--policy.window 20000",
        )
        self._quantile = stdtrit
        self.window_samples = window_samples
        self._noise = WeightedMean()
        self._others = np.zeros(3)  # of inner variance, orthogonal variance, loss; nan where not measured
        self._mean_square = 0.0
        self._samples = 0

    def add(self, measurement: Measurement, samples_since: int) -> None:
        """Takes in the measurement of one step.

        Args:
            measurement: The step's sums over ranks and passes.
            samples_since: Samples since the last measurement, those of this step included; older steps fade by them.

        Raises:
            ValueError: The measurement is not finite; all ranks skip such a step.
        """
        if not measurement.finite:
            raise ValueError("a measurement that is not finite")
        keep = math.exp(-samples_since / max(self.window_samples, LEAST_MEASUREMENTS * samples_since))
        self._samples += samples_since
        population = measurement.population
        self._noise.add(measurement, keep=keep, epoch=(self._samples - 1) // population if population else 0)
        along = across = math.nan
        if measurement.inner_square_sum is not None:
            along, across = measurement.inner_variance, measurement.orthogonal_variance
        loss = math.nan if measurement.loss is None else measurement.loss
        self._others = keep * self._others + measurement.weight * np.array([along, across, loss])
        self._mean_square = measurement.mean_square

    def read(self) -> Estimate | None:
        """Returns the present estimate; None before the second measurement, or while one has nearly all the weight."""
        freedom = self._noise.freedom
        if freedom <= 0.5:
            return None
        mean, covariance = self._noise.mean(), self._noise.covariance()
        quantile = float(self._quantile(freedom, (1 + CONFIDENCE) / 2))
        low, high = fieller(mean, covariance, quantile)
        along, across, loss = (float(x) if math.isfinite(x) else None for x in self._others / self._noise.weight)
        return Estimate(
            variance=float(mean[0]),
            signal=float(mean[1]),
            signal_margin=quantile * math.sqrt(max(0.0, covariance[1, 1])),
            mean_square=self._mean_square,
            inner_variance=along,
            orthogonal_variance=across,
            loss=loss,
            low=low,
            high=high,
            steps=self._noise.steps,
            samples=self._samples,
            full=self._samples >= self.window_samples,
            population=self._noise.population,
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns the sums behind the average, for a checkpoint."""
        return {
            "noise": self._noise.state_dict(),
            "others": [x if math.isfinite(x) else None for x in self._others.tolist()],
            "mean_square": self._mean_square,
            "samples": self._samples,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the sums that ``state_dict`` returned; sums of equal weights, as there were once, begin anew."""
        if "noise" not in state:
            return
        self._noise.load_state_dict(state["noise"])
        self._others = np.array([math.nan if x is None else x for x in state["others"]])
        self._mean_square, self._samples = state["mean_square"], state["samples"]


def fieller(mean: np.ndarray, covariance: np.ndarray, quantile: float) -> tuple[float, float]:
    """Returns Fieller's interval of mean[0] / mean[1], the smallest from 0 up that holds all that is possible.

    A ratio r is possible where mean[0] - r mean[1] lies within ``quantile`` standard errors of 0, which is where
    a r^2 - 2 b r + c <= 0. The estimate always is. 0 is where c <= 0; otherwise the low end is the smallest positive
    root. There is an upper end where a > 0: else all ratios from some root on are possible. mean[1] cannot be negative
    but by chance, and counts as 0 then.

    Args:
        mean: Two means, shape (2,); the first is 0 or more.
        covariance: Covariance of the two means, shape (2, 2).
        quantile: Number of standard errors.
    """
    mean = np.where(np.abs(mean) < LEAST, 0.0, mean)
    # in units of their own, powers of two, in which no product is rounded to 0
    units = [_unit(float(mean[i]), math.sqrt(abs(float(covariance[i, i])))) for i in (0, 1)]
    squared, over, under = quantile**2, float(mean[0]) / units[0], max(0.0, float(mean[1])) / units[1]
    a = under**2 - squared * float(covariance[1, 1]) / units[1] / units[1]
    b = over * under - squared * float(covariance[0, 1]) / units[0] / units[1]
    c = over**2 - squared * float(covariance[0, 0]) / units[0] / units[0]
    root = math.sqrt(max(0.0, b * b - a * c))
    estimate = over / under if under > 0 else math.inf
    low = 0.0 if c <= 0 else c / (b + root) if b + root > 0 else estimate
    high = (b + root) / a if a > 0 else math.inf
    ends = min(low, estimate), max(high, estimate)  # rounding apart, the estimate lies between them
    low, high = (end if math.isinf(end) else end * (units[0] / units[1]) for end in ends)  # of which some round to 0
    return low, high


def _unit(*numbers: float) -> float:
    """Returns the power of two next to the largest of the numbers; 1 where all are 0."""
    largest = max(map(abs, numbers))
    return math.ldexp(1.0, math.frexp(largest)[1]) if 0 < largest < math.inf else 1.0
