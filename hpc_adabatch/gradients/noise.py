"""Variance and length of the gradient, from pieces of one global batch.

A piece is one backward pass of one rank: b_i samples with mean gradient g_i. The global batch has n pieces and
B = sum b_i samples, and g = sum b_i g_i / B is its mean gradient.

De, Yadav, Jacobs & Goldstein 2016, https://arxiv.org/abs/1610.05792, section 3; McCandlish et al. 2018,
https://arxiv.org/abs/1812.06162, appendix A.1; Bollapragada, Byrd & Nocedal 2018, https://arxiv.org/abs/1710.11258.

    paper              here                  meaning                                                  unit
    tr Var grad f      variance              one sample's gradient variance, summed over parameters   gradient^2
    |g_B|^2            mean_square           squared length of the mean gradient: the raw signal      gradient^2
    |grad l|^2         signal                squared length of the true gradient, without bias        gradient^2
    B_simple           variance / signal     noise scale                                              samples
    Var(g_i . g_B)     inner_variance        one sample's variance along the mean gradient            gradient^4
    Var orthogonal     orthogonal_variance   one sample's variance across the mean gradient           gradient^2

Variances are those of one sample, so nothing is rescaled when the batch changes. The weights b_i make them unbiased for
uneven pieces; the usual formula with equal weights is not: b = 7, 32, 32, 50, 3 makes it 2.8 times too large
(docs/statistics.md).
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
    samples: int
    """Samples of the global batch, B."""
    pieces: int
    """Number of pieces, n; at least 2, each with at least one sample."""
    inner_square_sum: float | None = None
    """Sum over pieces of b_i (g_i . g)^2; None unless the pieces were kept until the mean was known."""
    loss: float | None = None
    """Mean loss of the samples; None if it is not known."""

    def __post_init__(self) -> None:
        if self.pieces < 2 or self.samples < self.pieces:
            raise ValueError(f"{self.pieces} pieces of {self.samples} samples; a variance needs two pieces or more")

    @property
    def variance(self) -> float:
        """Returns tr Var, unbiased: (sum b_i |g_i|^2 - B |g|^2) / (n - 1)."""
        return (self.square_sum - self.samples * self.mean_square) / (self.pieces - 1)

    @property
    def signal(self) -> float:
        """Returns |grad l|^2, unbiased: |g|^2 - variance / B; one estimate may be negative, the expectation is not."""
        return self.mean_square - self.variance / self.samples

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
