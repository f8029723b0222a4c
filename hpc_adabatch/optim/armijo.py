"""Step sizes by backtracking: the first tried that lowers the loss of the same batch enough.

De, Yadav, Jacobs & Goldstein 2017, https://arxiv.org/abs/1610.05792, Algorithm 2:

    first try: the last accepted step, doubled once after the batch grew
    accept alpha when  l(x - alpha g) <= l(x) - c alpha |g|^2,  else halve it

    paper    here
    alpha    alpha
    c        decrease; 0.1 in the paper, at most 1/2

With this rule, a step that one bad batch has shortened stays short until the batch grows. Vaswani et al. 2019,
https://arxiv.org/abs/1905.09997, Algorithm 2 (option 2), let the first try rise instead: the last accepted step times
gamma^(K / N), which is a factor of gamma in an epoch, however large its batches.

    gamma    rise; 2 in the paper, 1 leaves the doubling
    K / N    part

The losses are evaluated by training/line_search.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ..errors import real, require

HALVINGS = 40  # most in one search; beyond, floating point shows no descent in this direction


@dataclass
class Armijo:
    """A rule that searches the step size on each batch by halving, and the step size that it accepted last.

    Args:
        alpha: Step size to try first, more than 0; updated to the last accepted one.
        decrease: Part of the predicted decrease of the loss that a step must reach (c), more than 0, at most 1/2.
        rise: Growth of the first try over the samples of an epoch (gamma), 1 or more; above 1 it replaces the doubling.

    Raises:
        InputError: An argument is out of range.
    """

    alpha: float
    decrease: float = 0.1
    rise: float = 1.0
    needs_variance: ClassVar[bool] = False

    def __post_init__(self) -> None:
        allowed = "more than 0, at most 0.5"
        require(0 < real(self.alpha) < math.inf, "alpha", self.alpha, "more than 0", "alpha=1.0")
        require(0 < real(self.decrease) <= 0.5, "decrease", self.decrease, allowed, "decrease=0.1")
        require(1 <= real(self.rise) < math.inf, "rise", self.rise, "1 or more", "rise=2.0")

    def first(self, *, grew: bool, part: float) -> float:
        """Returns the step size to try first.

        Args:
            grew: True if the batch has grown since the last search.
            part: Samples of the batch / samples of an epoch.
        """
        if self.rise > 1:
            return self.alpha * self.rise**part
        return 2 * self.alpha if grew else self.alpha

    def accepts(self, alpha: float, loss: float, loss_there: float, square: float) -> bool:
        """Reports whether the loss falls enough.

        Args:
            alpha: Step size tried.
            loss: Mean loss of the batch before the step.
            loss_there: Mean loss of the same batch after the step; one that is not finite is never accepted.
            square: Squared length of the gradient, |g|^2.
        """
        return math.isfinite(loss_there) and loss_there <= loss - self.decrease * alpha * square

    def after(self, alpha: float) -> None:
        """Remembers the accepted step size, with which the next search begins."""
        self.alpha = alpha
