"""Step sizes by backtracking: as long as possible, while the loss of the same batch falls enough.

De, Yadav, Jacobs & Goldstein 2017, https://arxiv.org/abs/1610.05792, Algorithm 2:

    first try: the last accepted step, doubled once after the batch grew
    accept alpha when  l(x - alpha g) <= l(x) - c alpha |g|^2,  else halve it

    paper    here
    alpha    alpha
    c        decrease; 0.1 in the paper, at most 1/2

A step that one bad batch has shortened stays short there until the batch grows. Vaswani et al. 2019,
https://arxiv.org/abs/1905.09997, Algorithm 2 (option 2), lets the first try rise instead: the last accepted step times
gamma^(K / N), so gamma in an epoch however large its batches.

    gamma    rise; 2 in the paper, 1 leaves it to the doubling
    K / N    part

Not here: evaluating the losses (training/line_search.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

HALVINGS = 40  # in one search; then the direction is no descent that floating point could show


@dataclass
class Armijo:
    """The rule and the step size it has come to.

    Args:
        alpha: first step size, more than 0.
        decrease: c, the part of the predicted decrease that is asked for, more than 0, at most 1/2.
        rise: gamma, by which the first try rises over an epoch's samples, 1 or more; above 1 in place of the doubling.
    """

    alpha: float
    decrease: float = 0.1
    rise: float = 1.0
    needs_variance: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = False

    def first(self, *, grew: bool, part: float) -> float:
        """The step size to try first.

        Args:
            grew: whether the batch has grown since the last search.
            part: the batch over the samples of an epoch.
        """
        if self.rise > 1:
            return self.alpha * self.rise**part
        return 2 * self.alpha if grew else self.alpha

    def accepts(self, alpha: float, loss: float, loss_there: float, square: float) -> bool:
        """Whether the loss falls enough.

        Args:
            alpha: the step size tried.
            loss: of the batch before the step.
            loss_there: of the same batch after it; not finite counts as too large.
            square: |g|^2.
        """
        return math.isfinite(loss_there) and loss_there <= loss - self.decrease * alpha * square

    def after(self, alpha: float) -> None:
        """Takes the accepted step size as the next first one."""
        self.alpha = alpha
