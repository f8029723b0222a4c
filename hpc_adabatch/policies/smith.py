"""The batch grows at each milestone at which the learning rate would decay.

Smith, Kindermans, Ying & Le 2018, https://arxiv.org/abs/1711.00489, section 3: the noise scale of SGD is g = eps N / B,
so multiplying B by 1/d changes g as multiplying eps by d does. At its maximum the batch stays and the learning rate
decays.

    paper     here          meaning
    eps, B    learning rate, global batch
    d         decay         factor of the step schedule that is replaced

When to use it: you have a step schedule of the learning rate that works. Leave it out of ``learning_rate`` and give its
milestones to the rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from ..errors import real, require
from .growth import grow
from .policy import Policy, Progress, Proposal


@dataclass(kw_only=True, eq=False)
class Smith(Policy):
    """Smith et al.: a rule that multiplies the batch by 1/d instead of decaying the learning rate by d.

    Args:
        milestones: Epochs at which the schedule that is replaced would decay the learning rate.
        decay: Decay d of the learning rate at a milestone of the schedule that is replaced; the batch grows by 1/d.

    Raises:
        InputError: An argument is out of range.
    """

    couples_rate = True
    milestones: tuple[float, ...]
    decay: float = 0.2
    keeps: ClassVar[float] = 1.0  # power of the batch in what is kept going, learning rate / batch^power (growth.py)

    def __post_init__(self) -> None:
        epochs = self.milestones
        rising = isinstance(epochs, (tuple, list)) and all(0 < real(epoch) < math.inf for epoch in epochs)
        rising = rising and len(epochs) > 0 and all(a < b for a, b in pairwise(epochs))
        require(rising, "policy.milestones", epochs, "increasing epochs above 0", "--policy.milestones [30,60,80]")
        require(0 < real(self.decay) < 1, "policy.decay", self.decay, "more than 0, less than 1", "--policy.decay 0.2")

    @property
    def lr_factor(self) -> float:
        """Returns the factor of the learning rate at a milestone if the batch can grow in full."""
        return 1.0

    def phase(self, progress: Progress) -> int:
        return sum(
            round(milestone * progress.samples_per_epoch) <= progress.samples_seen for milestone in self.milestones
        )

    def propose(self, progress: Progress) -> Proposal:
        batch, learning_rate, passed = progress.start_batch, 1.0, self.phase(progress)
        for _ in range(passed):
            batch, learning_rate = grow(
                batch,
                learning_rate,
                factor=1 / self.decay,
                lr_factor=self.lr_factor,
                maximum=progress.max_global_batch,
                power=self.keeps,
            )
        reason = f"milestone {passed}: the batch grows where the learning rate would decay by {self.decay:g}"
        return Proposal(global_batch=batch, learning_rate_factor=learning_rate, reason=reason)
