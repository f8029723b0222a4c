"""Variance and length of the gradient, from pieces of one global batch.

A piece is one backward pass of one rank: b_i samples with mean gradient g_i. The global batch has n pieces and
B = sum b_i samples, and g = sum b_i g_i / B is its mean gradient. The true gradient is that of the training set, whose
N samples an epoch draws without replacement, so the noise of a batch is E|g - grad l|^2 = tr Var (1/B - 1/N).

De, Yadav, Jacobs & Goldstein 2016, https://arxiv.org/abs/1610.05792, section 3; McCandlish et al. 2018,
https://arxiv.org/abs/1812.06162, appendix A.1; Bollapragada, Byrd & Nocedal 2018, https://arxiv.org/abs/1710.11258.

    paper              here                  meaning                                                  unit
    tr Var grad f      variance              one sample's gradient variance, summed over parameters   gradient^2
    |g_B|^2            mean_square           squared length of the mean gradient: the raw signal      gradient^2
    |grad l|^2         signal                squared length of the true gradient, without bias        gradient^2
    N                  population            samples of the training set; None for draws independent  samples
    B_simple           variance / signal     noise scale                                              samples
    Var(g_i . g_B)     inner_variance        one sample's variance along the mean gradient            gradient^4
    Var orthogonal     orthogonal_variance   one sample's variance across the mean gradient           gradient^2

Variances are those of one sample (over the training set with N - 1 in the denominator), so nothing is rescaled when the
batch changes. The weights b_i make them unbiased for uneven pieces; the usual formula with equal weights is not: b = 7,
32, 32, 50, 3 makes it 2.8 times too large (docs/statistics.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The sums of one step over all ranks and passes, for one group of parameters or for all parameters."""

    square_sum: float
    """Sum over pieces of b_i |g_i|^2."""
    mean_square: float
    """Squared length of the mean gradient, |g|^2."""
    samples: float
    """Samples of the global batch, B; not whole for some weights that are not those of samples (weighted_pieces.py)."""
    pieces: float
    """Number of pieces, n, each with at least one sample; more than 1, and not whole for such weights."""
    inner_square_sum: float | None = None
    """Sum over pieces of b_i (g_i . g)^2; None unless the pieces were kept until the mean was known."""
    loss: float | None = None
    """Mean loss of the samples; None if it is not known."""
    population: int | None = None
    """Samples of the training set, of which a batch holds none twice, N; None where samples are drawn independently."""

    def __post_init__(self) -> None:
        if self.pieces <= 1 or self.samples < self.pieces:
            raise ValueError(f"{self.pieces} pieces of {self.samples} samples; a variance needs two pieces or more")
        if self.population is not None and self.samples > self.population:
            raise ValueError(f"a batch of {self.samples} samples out of {self.population}")

    @property
    def variance(self) -> float:
        """Returns tr Var, unbiased: (sum b_i |g_i|^2 - B |g|^2) / (n - 1)."""
        return (self.square_sum - self.samples * self.mean_square) / (self.pieces - 1)

    @property
    def signal(self) -> float:
        """Returns |grad l|^2, unbiased: |g|^2 less its noise; one estimate may be negative, the expectation is not."""
        return self.mean_square - self.noise

    @property
    def noise(self) -> float:
        """Returns E|g - grad l|^2, unbiased: variance (1/B - 1/N)."""
        return noise_of_mean(self.variance, self.samples, self.population)

    @property
    def weight(self) -> float:
        """Returns the weight in averages, from what the step knows: B (n - 1) / n, in samples (docs/statistics.md)."""
        return self.samples * (self.pieces - 1) / self.pieces

    @property
    def inner_variance(self) -> float:
        """Returns Var(g_i . g): (sum b_i (g_i . g)^2 - B |g|^4) / (n - 1).

        Raises:
            ValueError: The inner products were not measured.
        """
        return (self._inner() - self.samples * self.mean_square**2) / (self.pieces - 1)

    @property
    def orthogonal_variance(self) -> float:
        """Returns Var(g_i - (g_i . g / |g|^2) g): (sum b_i |g_i|^2 - sum b_i (g_i . g)^2 / |g|^2) / (n - 1).

        Raises:
            ValueError: The inner products were not measured.
        """
        across = self.square_sum - (self._inner() / self.mean_square if self.mean_square > 0 else 0.0)
        return across / (self.pieces - 1)

    @property
    def finite(self) -> bool:
        """Reports whether all sums are finite."""
        sums = (self.square_sum, self.mean_square, self.inner_square_sum or 0.0, self.loss or 0.0)
        return all(math.isfinite(value) for value in sums)

    def _inner(self) -> float:
        if self.inner_square_sum is None:
            raise ValueError("inner products were not measured at this step")
        return self.inner_square_sum


def noise_of_mean(variance: float, samples: float, population: int | None) -> float:
    """Returns the noise of a mean gradient, E|g - grad l|^2 = variance (1/B - 1/N): 0 where the batch is everything.

    Args:
        variance: One sample's gradient variance, summed over parameters.
        samples: Samples of the batch, B.
        population: Samples of the training set, N; None where they are drawn independently.
    """
    return variance * (1 / samples - (1 / population if population else 0.0))


def samples_for(variance: float, noise: float, population: int | None) -> float:
    """Returns the samples of the batch whose mean gradient has this noise: 1/B = noise / variance + 1/N.

    Args:
        variance: One sample's gradient variance, summed over parameters; 0 or less asks for no samples.
        noise: E|g - grad l|^2; 0 or less asks for the whole training set.
        population: Samples of the training set, N; None where they are drawn independently.

    Returns:
        Samples, N at most; infinity for no noise without N.
    """
    if variance <= 0:
        return 0.0
    inverse = max(noise, 0.0) / variance + (1 / population if population else 0.0)
    return 1 / inverse if inverse > 0 else math.inf
