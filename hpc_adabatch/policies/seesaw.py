"""Seesaw: instead of halving, the learning rate falls by sqrt(2) and the batch doubles.

Meterez et al. 2025, https://arxiv.org/abs/2510.14717: for normalised updates (Adam, LAMB) the schedules are equivalent
when learning rate / sqrt(batch) is. A decay by d becomes a learning rate times sqrt(d) and a batch divided by d.

When to use it: as smith (smith.py), with an optimizer that normalises its updates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from .smith import Smith


@dataclass(kw_only=True, eq=False)
class Seesaw(Smith):
    """Seesaw: a rule that multiplies learning rate by sqrt(d) and batch by 1/d instead of decaying the rate by d.

    ``Smith`` explains milestones and cosine.

    Args:
        decay: Decay d of the learning rate at a milestone of the schedule that is replaced; the batch grows by 1/d.

    Raises:
        InputError: An argument is out of range.
    """

    decay: float = 0.5
    keeps: ClassVar[float] = 0.5

    @property
    def lr_factor(self) -> float:
        return math.sqrt(self.decay)
