"""CABS: the batch couples to the learning rate, the noise and the loss.

Balles, Romero & Hennig 2017, https://arxiv.org/abs/1612.05086, the practical rule: for SGD with a loss whose infimum is
near 0,

    paper               here
    alpha               learning_rate, of the first parameter group
    tr Sigma / F        variance / loss, averaged apart
    m = alpha tr Sigma / F * c        wanted = constant * learning_rate * variance / (loss - infimum)

A learning rate that falls makes the batch fall with it: with a decaying schedule use ``shrink: false``.

When to use it: plain SGD, a loss that goes to about 0 (no label smoothing), and a learning rate that you trust.
"""

from dataclasses import dataclass

from ..errors import require
from ..gradients import Estimate
from .measured import Measured
from .policy import Progress


@dataclass(kw_only=True, eq=False)
class Cabs(Measured):
    """Batch proportional to learning rate times variance over loss."""

    constant: float = 1.0
    """Multiplies the batch; 1 in the paper."""
    infimum: float = 0.0
    """Smallest loss there can be; 0 in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.constant > 0, "policy.constant", self.constant, "more than 0", "--policy.constant 1")
        require(self.infimum >= 0, "policy.infimum", self.infimum, "0 or more", "--policy.infimum 0")

    def wanted(self, estimate: Estimate, progress: Progress) -> float:
        assert estimate.loss is not None  # the loop gives it with every measurement
        gap = max(estimate.loss - self.infimum, 1e-12)
        rate = progress.learning_rate / progress.learning_rate_factor  # not the one that lower_lr has lowered
        return self.constant * rate * max(estimate.variance, 0.0) / gap
