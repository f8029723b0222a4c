"""CABS: the batch couples to the learning rate, the noise and the loss.

Balles, Romero & Hennig 2017, https://arxiv.org/abs/1612.05086, the practical rule for SGD and a loss whose infimum
is near 0:

    paper               here
    alpha               learning_rate, of the first parameter group
    tr Sigma / F        variance / loss, averaged apart
    m = alpha tr Sigma / F * c        wanted = constant * learning_rate * variance / (loss - infimum)

A learning rate that falls makes the batch fall with it: with a decaying schedule use ``shrink: false``.

When to use it: plain SGD, a loss that goes to about 0 (no label smoothing), and a learning rate that suits the task.
"""

import math
from dataclasses import dataclass

from ..errors import real, require
from ..gradients import Estimate
from .measured import Measured
from .policy import Progress


@dataclass(kw_only=True, eq=False)
class Cabs(Measured):
    """CABS: a rule that keeps the batch proportional to learning rate * variance / loss.

    ``Measured`` explains the other arguments.

    Args:
        constant: Factor of the batch; 1 in the paper.
        infimum: Smallest loss that is possible; 0 in the paper.

    Raises:
        InputError: An argument is out of range.
    """

    couples_rate = True
    constant: float = 1.0
    infimum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 < real(self.constant) < math.inf, "policy.constant", self.constant, "more than 0", "--policy.constant 1"
        )
        require(0 <= real(self.infimum) < math.inf, "policy.infimum", self.infimum, "0 or more", "--policy.infimum 0")

    def wanted(self, estimate: Estimate, progress: Progress) -> float:
        assert estimate.loss is not None  # the loop gives it with every measurement
        gap = max(estimate.loss - self.infimum, 1e-12)
        rate = progress.learning_rate / progress.learning_rate_factor  # not the one that lower_lr has lowered
        return self.constant * rate * max(estimate.variance, 0.0) / gap
