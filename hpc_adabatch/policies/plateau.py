"""The batch grows when the training loss stops to fall.

The trigger is that of a learning rate that is lowered on a plateau, but the batch grows instead (Smith et al. 2018,
https://arxiv.org/abs/1711.00489). AdaBatch's authors announce such a rule in a help text, but their code has none
(Devarakonda, Naumov & Garland 2017, https://arxiv.org/abs/1712.02029). At its maximum the batch stays, and the learning
rate falls by what the batch could not grow.

When to use it: you lower the learning rate on plateaus today, and measure nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ..errors import real, require, whole
from .growth import grow
from .policy import Policy, Progress, Proposal


@dataclass(kw_only=True, eq=False)
class Plateau(Policy):
    """Plateau: a rule that grows the batch after some epochs without a better training loss.

    Args:
        factor: Growth of the batch at a plateau.
        patience: Number of epochs without improvement that make a plateau.
        threshold: Smallest decrease of the loss that counts as an improvement, as a part of the best loss so far.

    Raises:
        InputError: An argument is out of range.
    """

    couples_rate = True
    factor: float = 2.0
    patience: int = 2
    threshold: float = 0.01
    _best: float = field(default=math.inf, init=False, repr=False)
    _waited: int = field(default=0, init=False, repr=False)  # epochs without improvement

    def __post_init__(self) -> None:
        require(1 < real(self.factor) < math.inf, "policy.factor", self.factor, "more than 1", "--policy.factor 2")
        require(whole(self.patience) >= 1, "policy.patience", self.patience, "1 or more", "--policy.patience 2")
        small = 0 <= real(self.threshold) < 1
        require(small, "policy.threshold", self.threshold, "0 to below 1", "--policy.threshold 0.01")

    @property
    def foreseeable(self) -> bool:
        return False

    def phase(self, progress: Progress) -> int:
        return progress.epochs_completed

    def propose(self, progress: Progress) -> Proposal:
        batch, factor, loss = progress.global_batch, progress.learning_rate_factor, progress.epoch_loss
        better = math.inf if math.isinf(self._best) else self._best - self.threshold * abs(self._best)
        if loss is not None and loss < better:
            self._best, self._waited = loss, 0
        else:
            self._waited += 1
        reason = f"loss {loss:.4g}, best {self._best:.4g}, {self._waited} epochs ago" if loss is not None else "no loss"
        if self._waited >= self.patience:
            self._waited = 0
            maximum = progress.max_global_batch
            grown, factor = grow(batch, factor, factor=self.factor, lr_factor=1.0, maximum=maximum)
            batch = max(grown, min(batch + 1, maximum))
        return Proposal(global_batch=batch, learning_rate_factor=factor, reason=reason)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best, self._waited = state["best"], state["waited"]
