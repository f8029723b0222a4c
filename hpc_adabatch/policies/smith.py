"""The batch grows at each milestone at which the learning rate would decay.

Smith, Kindermans, Ying & Le 2018, https://arxiv.org/abs/1711.00489, section 3: the noise scale of SGD is g = eps N / B,
so multiplying B by 1/d changes g as multiplying eps by d does. At its maximum the batch stays and the learning rate
decays.

    paper     here          meaning
    eps, B    learning rate, global batch
    d         decay         factor of the step schedule that is replaced

    cosine of E epochs: (1 + cos(pi e / E)) / 2 passes d^n at  e = E / pi acos(2 d^n - 1),  the n-th milestone

When to use it: you have a schedule of the learning rate that works. Leave it out of ``learning_rate`` and give the
milestones of a step schedule, or the epochs of a cosine, to the rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from ..errors import real, require
from .growth import grow
from .policy import Policy, Progress, Proposal

LEAST = 0.01  # of the learning rate, below which a cosine is not followed


@dataclass(kw_only=True, eq=False)
class Smith(Policy):
    """Smith et al.: a rule that multiplies the batch by 1/d instead of decaying the learning rate by d.

    Args:
        milestones: Epochs at which the step schedule that is replaced would decay the learning rate.
        cosine: Epochs of the cosine decay that is replaced, instead of milestones: these are where it would have fallen
            by decay each time, down to a hundredth.
        decay: Decay d of the learning rate at a milestone of the schedule that is replaced; the batch grows by 1/d.

    Raises:
        InputError: An argument is out of range, or milestones and cosine are both given or both missing.

    Attributes:
        whens: Epochs at which the batch grows.
    """

    couples_rate = True
    milestones: tuple[float, ...] = ()
    cosine: float | None = None
    decay: float = 0.2
    keeps: ClassVar[float] = 1.0  # power of the batch in what is kept going, learning rate / batch^power (growth.py)

    def __post_init__(self) -> None:
        epochs, cosine = self.milestones, self.cosine
        rising = isinstance(epochs, (tuple, list)) and all(0 < real(epoch) < math.inf for epoch in epochs)
        rising = rising and bool(epochs) == (cosine is None) and all(a < b for a, b in pairwise(epochs))
        allowed = "increasing epochs above 0; none with policy.cosine"
        require(rising, "policy.milestones", epochs, allowed, "--policy.milestones [30,60,80] or --policy.cosine 90")
        fits = cosine is None or 0 < real(cosine) < math.inf
        require(fits, "policy.cosine", cosine, "more than 0", "--policy.cosine 90")
        least, allowed = (0.0, "more than 0, less than 1") if cosine is None else (LEAST, f"{LEAST} to below 1")
        require(least < real(self.decay) < 1, "policy.decay", self.decay, allowed, "--policy.decay 0.2")
        self.whens = tuple(epochs)
        if cosine is not None:
            stages = math.floor(math.log(LEAST) / math.log(self.decay) + 1e-9)
            falls = (self.decay**stage for stage in range(1, stages + 1))
            self.whens = tuple(cosine / math.pi * math.acos(2 * fall - 1) for fall in falls)

    @property
    def lr_factor(self) -> float:
        """Returns the factor of the learning rate at a milestone if the batch can grow in full."""
        return 1.0

    def phase(self, progress: Progress) -> int:
        return sum(round(when * progress.samples_per_epoch) <= progress.samples_seen for when in self.whens)

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
