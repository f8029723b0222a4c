"""Learning rate and weight decay of an optimizer's groups, as the schedule has them with the batch in hand.

    learning rate = base * course * factor of the policy        weight decay = base * course, where it follows the batch

Not here: the schedule and how far a run has come on it (learning_rate/), the step size that is searched instead
(line_search.py).
"""

from __future__ import annotations

import torch

from ..learning_rate import Course


class Rates:
    """What the optimizer's groups had when they were given here, times what the schedule says.

    Args:
        optimizer: its groups' ``lr`` and ``weight_decay`` are the base ones.
        course: the schedule.

    Attributes:
        factor: the policy's, on the learning rate.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, course: Course) -> None:
        self.factor = 1.0
        self._optimizer, self._course = optimizer, course
        self._rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._decays = [group.get("weight_decay", 0.0) for group in optimizer.param_groups]

    def apply(self, global_batch: int) -> None:
        """Sets the groups for the next step. Weight decay that is not to follow the batch is not touched."""
        groups, multiplier = self._optimizer.param_groups, self._multiplier(global_batch)
        for group, base in zip(groups, self._rates, strict=True):
            group["lr"] = base * multiplier
        if self._course.rule.weight_decay == "per_epoch":
            more_decay = self._course.weight_decay_multiplier(global_batch)
            for group, base in zip(groups, self._decays, strict=True):
                group["weight_decay"] = base * more_decay

    def holding(self, global_batch: int) -> dict[str, float]:
        """Those of the first group at the next step, and the factor, for the journal."""
        held = {"learning_rate": self._rates[0] * self._multiplier(global_batch), "learning_rate_factor": self.factor}
        if self._course.rule.weight_decay == "per_epoch":
            held["weight_decay"] = self._decays[0] * self._course.weight_decay_multiplier(global_batch)
        return held

    def _multiplier(self, global_batch: int) -> float:
        return self._course.multiplier(global_batch) * self.factor
