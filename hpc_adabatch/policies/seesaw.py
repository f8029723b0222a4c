"""Seesaw: where the learning rate would halve, it falls by sqrt(2) and the batch doubles.

Meterez et al. 2025, https://arxiv.org/abs/2510.14717: for normalised updates (Adam, LAMB) the schedules are equivalent
when learning rate / sqrt(batch) is. A decay by d becomes a learning rate times sqrt(d) and a batch divided by d.

When to use it: smith.py's case with an optimizer that normalises its updates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from .smith import Smith


@dataclass(kw_only=True, eq=False)
class Seesaw(Smith):
    """Learning rate times sqrt(``decay``) and batch divided by ``decay`` at each milestone."""

    decay: float = 0.5
    """Factor by which the learning rate would decay."""
    keeps: ClassVar[float] = 0.5

    @property
    def lr_factor(self) -> float:
        return math.sqrt(self.decay)
