"""The mean of variance and signal over steps that know unequally much, and its covariance.

A step t has the weight w_t = p_t * fading, with p from its samples and pieces (``Measurement.weight``). With
h_t = w_t / sum w and the residuals e_t:

    mean          sum h (variance, signal)          unbiased: no weight depends on what its own step has measured
    covariance    sum h^2 e e' / lost               follows the scatter of short and long steps as it is
    lost          1 + sum h^2 - 2 (sum h^3 / p) / (sum h^2 / p): what residuals lose to the mean they are taken from
    freedom       (sum h^2 / p)^2 / (sum h^4 / p^2) - 1, Satterthwaite 1946, https://doi.org/10.2307/3002019

The last two are those of steps whose scatter falls as 1 / p; k equal steps have 1 - 1/k and k - 1.

Batches of one epoch share no sample, so what they add to |g|^2 along the true gradient cancels over the epoch: of the
scatter that pieces within steps do not explain, the part (sum over pairs of steps of one epoch of h_s h_t) / N /
(sum h^2 u), with u = 1/B - 1/N. For n pieces they explain

    of pieces     sum h^2 e_variance^2 [1, -u; -u, n u^2] / lost       noise of |g|^2 apart from that of the variance

The squared noise of such batches moves together a little: 2 tr Sigma^2 / N^2 a pair, where one has 2 tr Sigma^2 u^2.

docs/statistics.md derives the weights and shows what the intervals hold. Not here: fading (smoothing.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .noise import Measurement, noise_of_mean


class WeightedMean:
    """A running mean of the variance and signal of steps."""

    def __init__(self) -> None:
        self._sums = np.zeros(7)  # of w (1, variance, signal, u, u variance, d, d variance), with d = sqrt(n) u
        self._products = np.zeros((7, 7))  # of w^2 and the products of the same seven
        self._squares = np.zeros(4)  # sums of w^2 / p, w^3 / p, w^4 / p^2, w^2 u
        self._epoch, self._epoch_weight = -1, 0.0  # of the last step: number, and the sum of its steps' w
        self._epoch_squares = 0.0  # squares of such sums of the epochs before
        self._population: int | None = None

    def add(self, measurement: Measurement, *, keep: float, epoch: int) -> None:
        """Takes in a step.

        Args:
            measurement: The step's sums.
            keep: The factor by which the weights of all earlier steps fade.
            epoch: The number of the step's epoch, whose batches share no sample.
        """
        weight, variance = measurement.weight, measurement.variance
        u = noise_of_mean(1.0, measurement.samples, measurement.population)
        d = measurement.pieces**0.5 * u
        values = np.array([1.0, variance, measurement.signal, u, u * variance, d, d * variance])
        self._sums = keep * self._sums + weight * values
        self._products = keep**2 * self._products + weight**2 * np.outer(values, values)
        squares = [weight, weight**2, weight**2, weight**2 * u]
        self._squares = np.array([keep**2, keep**3, keep**4, keep**2]) * self._squares + squares
        if epoch != self._epoch:
            self._epoch_squares += self._epoch_weight**2
            self._epoch, self._epoch_weight = epoch, 0.0
        self._epoch_weight = keep * self._epoch_weight + weight
        self._epoch_squares *= keep**2
        self._population = measurement.population

    @property
    def weight(self) -> float:
        """Returns the sum of the weights, faded."""
        return float(self._sums[0])

    @property
    def population(self) -> int | None:
        """Returns the samples of the training set; None where they are drawn independently."""
        return self._population

    @property
    def freedom(self) -> float:
        """Returns the degrees of freedom of the covariance; 0 without steps."""
        second, _, fourth, _ = self._squares
        return float(second**2 / fourth - 1.0) if fourth else 0.0

    @property
    def steps(self) -> float:
        """Returns the number of equal, independent steps that would give a mean as exact as this one."""
        return float(self._sums[0] ** 2 / self._products[0, 0])

    def mean(self) -> np.ndarray:
        """Returns the means of variance and signal. Shape (2,)."""
        return self._sums[1:3] / self._sums[0]

    def covariance(self) -> np.ndarray:
        """Returns the covariance of the two means. Shape (2, 2)."""
        second, third, _, apart = self._squares
        total, total_of_squares = self._sums[0], self._products[0, 0]
        variance, signal = self.mean()
        residual = np.zeros((4, 7))  # of variance and signal; of u variance and d variance, as u and d are known
        residual[0, :2], residual[1, [0, 2]] = (-variance, 1), (-signal, 1)
        residual[2, 3:5] = residual[3, 5:] = (-variance, 1)
        lost = 1 + total_of_squares / total**2 - 2 * third / (second * total)
        found = residual @ self._products @ residual.T / (total**2 * lost)
        covariance = found[:2, :2]
        if self._population and apart > 0:
            pairs = self._epoch_squares + self._epoch_weight**2 - total_of_squares
            shared = pairs / self._population**2 / self._products[3, 3] * (found[3, 3] - found[2, 2])
            if found[1, 1] > found[3, 3]:
                cancelled = min(1.0, pairs / (self._population * apart))
                of_pieces = np.array([[found[0, 0], -found[0, 2]], [-found[0, 2], found[3, 3]]])
                covariance = (1 - cancelled) * covariance + cancelled * of_pieces
            covariance[1, 1] += shared
        return covariance

    def state_dict(self) -> dict[str, Any]:
        """Returns the sums, for a checkpoint."""
        return {
            "sums": self._sums.tolist(),
            "products": self._products.tolist(),
            "squares": self._squares.tolist(),
            "epoch": [self._epoch, self._epoch_weight, self._epoch_squares],
            "population": self._population,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the sums that ``state_dict`` returned."""
        self._sums, self._products = np.array(state["sums"]), np.array(state["products"])
        self._squares = np.array(state["squares"])
        self._epoch, self._epoch_weight, self._epoch_squares = state["epoch"]
        self._population = state["population"]
