"""Step sizes from the curvature along the last step, less the noise.

De, Yadav, Jacobs & Goldstein 2017, https://arxiv.org/abs/1610.05792, Algorithm 3. With the gradients of one batch of K
samples at both ends of the step,

    nu     = <x' - x, g(x') - g(x)> / |x' - x|^2
    alpha~ = 1/nu * (1 - V / (K |g|^2))                   while K < N; 1/nu with all samples
    alpha  = alpha (1 - K/N) + alpha~ K/N                 trusted as far as the batch is the whole set

The factor of the noise is the best step on a quadratic (their section 4.2); it is not taken below 0. Where nu is not
positive, alpha stays. Each step is safeguarded by backtracking (armijo.py) without the doubling.

    paper        here
    V_B          variance
    K, N         samples, samples_per_epoch

Not here: the gradients (training/line_search.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from .armijo import Armijo


@dataclass
class BarzilaiBorwein(Armijo):
    """Backtracking from a step size that follows the curvature."""

    needs_variance: ClassVar[bool] = True
    needs_gradient: ClassVar[bool] = True

    def first(self, *, grew: bool, part: float) -> float:
        return self.alpha

    def learn(
        self, *, change: float, moved: float, variance: float, mean_square: float, samples: int, samples_per_epoch: int
    ) -> None:
        """Takes in the curvature along a step.

        Args:
            change: <x' - x, g(x') - g(x)>.
            moved: |x' - x|^2.
            variance: V, one sample's.
            mean_square: |g(x)|^2.
            samples: K.
            samples_per_epoch: N.
        """
        if not (math.isfinite(change) and change > 0 and moved > 0 and mean_square > 0):
            return
        curvature, part = change / moved, samples / samples_per_epoch
        noise = variance / (samples * mean_square) if samples < samples_per_epoch else 0.0
        wanted = max(0.0, 1.0 - noise) / curvature
        self.alpha = self.alpha * (1 - part) + wanted * part
