"""Variance and signal averaged over steps, with an interval for their ratio.

    weight of a step that lies s samples back     exp(-s / window), window in samples, at least ten measurements long
    average                                       numerator and denominator separately; divided only when read
    interval                                      Fieller's, from the scatter of the steps, at 95 %

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
from .noise import Measurement

CONFIDENCE = 0.95
LEAST_MEASUREMENTS = 10  # that a window spans: a batch may grow until few of them fit into the samples


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate of the gradient's noise, averaged over steps."""

    variance: float
    """Variance of one sample's gradient, summed over parameters."""
    signal: float
    """Squared length of the true gradient, unbiased; may be negative if it is small."""
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

    @property
    def noise_scale(self) -> float:
        """Returns variance / signal, in samples; infinite if the signal is not positive."""
        return self.variance / self.signal if self.signal > 0 else math.inf


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
        self._weight = self._weight_squares = 0.0
        self._sums = np.zeros(2)  # of variance, signal
        self._others = np.zeros(3)  # of inner variance, orthogonal variance, loss; nan where not measured
        self._products = np.zeros((2, 2))
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
        values = np.array([measurement.variance, measurement.signal])
        self._weight = keep * self._weight + 1.0
        self._weight_squares = keep**2 * self._weight_squares + 1.0
        self._sums = keep * self._sums + values
        self._products = keep * self._products + np.outer(values, values)
        along = across = math.nan
        if measurement.inner_square_sum is not None:
            along, across = measurement.inner_variance, measurement.orthogonal_variance
        loss = math.nan if measurement.loss is None else measurement.loss
        self._others = keep * self._others + np.array([along, across, loss])
        self._mean_square = measurement.mean_square
        self._samples += samples_since

    def read(self) -> Estimate | None:
        """Returns the present estimate; None before the second measurement."""
        steps = self._weight**2 / self._weight_squares if self._weight else 0.0
        if steps <= 1.5:
            return None
        mean = self._sums / self._weight
        covariance = (self._products / self._weight - np.outer(mean, mean)) / (steps - 1.0)  # of the mean
        along, across, loss = (float(x) if math.isfinite(x) else None for x in self._others / self._weight)
        low, high = fieller(mean, covariance, float(self._quantile(steps - 1.0, (1 + CONFIDENCE) / 2)))
        return Estimate(
            variance=float(mean[0]),
            signal=float(mean[1]),
            mean_square=self._mean_square,
            inner_variance=along,
            orthogonal_variance=across,
            loss=loss,
            low=low,
            high=high,
            steps=steps,
            samples=self._samples,
            full=self._samples >= self.window_samples,
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns the sums behind the average, for a checkpoint."""
        return {
            "sums": self._sums.tolist(),
            "products": self._products.tolist(),
            "others": [x if math.isfinite(x) else None for x in self._others.tolist()],
            "weights": [self._weight, self._weight_squares],
            "mean_square": self._mean_square,
            "samples": self._samples,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the sums that ``state_dict`` returned."""
        self._sums, self._products = np.array(state["sums"]), np.array(state["products"])
        self._others = np.array([math.nan if x is None else x for x in state["others"]])
        self._weight, self._weight_squares = state["weights"]
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
    squared, over, under = quantile**2, float(mean[0]), max(0.0, float(mean[1]))
    a = under**2 - squared * float(covariance[1, 1])
    b = over * under - squared * float(covariance[0, 1])
    c = over**2 - squared * float(covariance[0, 0])
    root = math.sqrt(max(0.0, b * b - a * c))
    estimate = over / under if under > 0 else math.inf
    low = 0.0 if c <= 0 else c / (b + root) if b + root > 0 else estimate
    high = (b + root) / a if a > 0 else math.inf
    return min(low, estimate), max(high, estimate)  # rounding apart, the estimate lies between them
