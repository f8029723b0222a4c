"""Step sizes from the curvature along the last step, less the noise.

De, Yadav, Jacobs & Goldstein 2017, https://arxiv.org/abs/1610.05792, Algorithm 3. With the gradients of one batch of K
samples at both ends of the step,

    nu     = <x' - x, g(x') - g(x)> / |x' - x|^2
    alpha~ = 1/nu * (1 - V / (K |g|^2))                   if K < N; 1/nu with all samples
    alpha  = alpha (1 - K/N) + alpha~ K/N                 alpha~ counts by the batch's part of the training set

The factor of the noise gives the best step on a quadratic (section 4.2 of the paper); it is not taken below 0. If nu is
not positive, alpha stays. Each step is safeguarded by backtracking (armijo.py) without the doubling.

    paper        here
    V_B          variance
    K, N         samples, samples_per_epoch

The gradients are evaluated by training/line_search.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ..errors import require
from .armijo import Armijo


@dataclass
class BarzilaiBorwein(Armijo):
    """A rule whose step size follows the curvature along the last step, safeguarded by backtracking.

    Args:
        alpha: Step size to try first, more than 0; updated to the one that follows the curvature.
        decrease: Part of the predicted decrease of the loss that a step must reach (c), more than 0, at most 1/2.
        rise: Always 1: the curvature sets each first try.

    Raises:
        InputError: An argument is out of range.
    """

    needs_variance: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = "1, since the curvature sets each first try"
        require(self.rise == 1, "rise", self.rise, allowed, "Armijo(alpha=1.0, rise=2.0)")

    def first(self, *, grew: bool, part: float) -> float:
        return self.alpha

    def learn(
        self,
        *,
        change: float,
        moved: float,
        variance: float,
        mean_square: float,
        samples: int,
        samples_per_epoch: int,
        draws: bool = False,
    ) -> None:
        """Adapts the step size to the curvature along a step from x to x'.

        Args:
            change: Inner product of the step with the change of the gradient, <x' - x, g(x') - g(x)>.
            moved: Squared length of the step, |x' - x|^2.
            variance: Variance of one sample's gradient (V).
            mean_square: Squared length of the gradient before the step, |g(x)|^2.
            samples: Samples of the batch (K).
            samples_per_epoch: Samples of the training set (N).
            draws: True where they are drawn with replacement, so that a batch of N has noise too.
        """
        if not (math.isfinite(change) and change > 0 and moved > 0 and mean_square > 0):
            return
        curvature, part = change / moved, samples / samples_per_epoch
        noise = variance / (samples * mean_square) if samples < samples_per_epoch or draws else 0.0
        wanted = max(0.0, 1.0 - noise) / curvature
        self.alpha = self.alpha * (1 - part) + wanted * part
