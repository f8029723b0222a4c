"""The gradient's noise, measured every so many steps inside the loop.

    rank r    hooks on the parameters -> sum of b_i |g_i|^2, pieces            (rides in the step's message)
    all       after the sum over ranks: |g|^2, inner products -> measurement -> averages, one a group and one for all
    rank 0    what a measurement took, against what a step takes -> steps until the next one (``pace``)

A measurement reads the gradients once for each pass, in hooks, and once after the sum. Both are timed; a GPU's hooks
only ask for work, so they count at least as much as readings after the sum, which wait for it.

Not here: the formulas (gradients/), what is decided from them (policies/), the sums over ranks (averaging.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..batches import AdaptiveBatches
from ..batches.micro_batch import passes_and_micro_batch
from ..errors import require
from ..gradients import Estimate, Measurement, PieceMeter, Smoother

FIRST_PACE, SLOWEST_PACE = 10, 1000  # steps between two measurements: until times are known, and at most
LARGEST_GUARD = 2**16  # elements of the tensors that ``small_and_finite`` looks at
Sum = Callable[[torch.Tensor], torch.Tensor]


class Measuring:
    """Measures one step in every few.

    Args:
        groups: the trained parameters by the name of their group.
        window_samples: how far back the averages reach.
        every: steps between two measurements; None: as many as keep the cost below ``budget``.
        budget: part of the time of a step that measuring may take.
        keep: pieces a rank keeps for inner products; 0 when those are not wanted.
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[torch.nn.Parameter]],
        *,
        window_samples: float,
        every: int | None,
        budget: float = 0.01,
        keep: int = 0,
    ) -> None:
        self._meter = PieceMeter(list(groups.values()), clock=time.perf_counter)
        self._smoothers = {name: Smoother(window_samples) for name in groups} if len(groups) > 1 else {}
        self._smoother = Smoother(window_samples)
        self._every, self._budget, self._keep = every, budget, keep
        self._next = 0  # step to measure
        self._sums: list[float] = []  # of the step in hand: pieces, and a sum of squares a group
        self._samples_since = 0
        self._readings = 0
        self._reading_s = 0.0
        self.pace = every or FIRST_PACE
        self.cost = math.nan
        self.measurements = 0
        self.active = False
        self.last: Measurement | None = None
        self._groups: list[Measurement] = []
        self.estimate: Estimate | None = None

    def begin_step(self, step: int) -> bool:
        """Whether this step is to be measured."""
        self.active = step >= self._next
        if self.active:
            self._next = step + self.pace
            self._sums, self._readings, self._meter.seconds = [], 0, 0.0
        return self.active

    def begin_passes(self, passes: int) -> None:
        """Puts the hooks on for this many backward passes; again for those that a growing batch adds."""
        if self.active:
            self._meter.start(passes=passes, keep=self._keep)

    def begin_pass(self, samples: int, weight: float) -> None:
        """Before a backward pass of ``samples``, whose mean loss was multiplied by ``weight``."""
        if self.active:
            self._meter.piece(samples, weight)
            self._readings += 1

    def message(self) -> list[torch.Tensor]:
        """After the last pass: the numbers to be summed over ranks; none on steps that are not measured."""
        if not self.active:
            return []
        self._meter.stop()
        squares = self._meter.square_sums()
        return [squares.new_tensor([self._meter.pieces]), squares]

    def take(self, summed: list[float], samples: int, loss: float, add: Sum) -> bool:
        """Takes in the summed message of a measured step, whose gradients hold the mean over ``samples`` now.

        Args:
            summed: this message, summed over ranks; those of the same step before it are added.
            samples: B.
            loss: mean over them.
            add: sums a small tensor over ranks, in place.

        Returns:
            False when something is not finite: the step is to be skipped.
        """
        began_s = time.perf_counter()
        self._sums = [a + b for a, b in zip(self._sums or [0.0] * len(summed), summed, strict=True)]
        pieces, square_sums = int(self._sums[0]), self._sums[1:]
        mean_squares = self._meter.mean_squares().tolist()
        inner = float(add(self._meter.inner_square_sum())) if self._keep else None
        self._reading_s = time.perf_counter() - began_s
        if not all(math.isfinite(value) for value in (*square_sums, *mean_squares, inner or 0.0, loss)):
            return False
        self.last = None
        if pieces >= 2:
            self.last = Measurement(
                square_sum=sum(square_sums),
                mean_square=sum(mean_squares),
                samples=samples,
                pieces=pieces,
                inner_square_sum=inner,
                loss=loss,
            )
            self._groups = [
                Measurement(square_sum=a, mean_square=b, samples=samples, pieces=pieces)
                for a, b in zip(square_sums, mean_squares, strict=True)
            ]
        return True

    def end_step(self, samples: int, *, finite: bool) -> bool:
        """The step of this many samples is done. True when it was measured and is in the averages now."""
        self._samples_since += samples
        measured = self.active and finite and self.last is not None
        self.active = False
        if measured and self.last is not None:
            self._smoother.add(self.last, self._samples_since)
            for smoother, group in zip(self._smoothers.values(), self._groups, strict=False):
                smoother.add(group, self._samples_since)
            self._samples_since = 0
            self.measurements += 1
            self.estimate = self._smoother.read()
        return measured

    def affordable(self, step_s: float | None) -> int:
        """Steps between two measurements that keep their cost below the budget; for rank 0, whose clock decides.

        Args:
            step_s: seconds of a step; None when not known yet.
        """
        if step_s is None:
            return self.pace
        measurement_s = max(self._meter.seconds, self._readings * self._reading_s) + self._reading_s
        wanted = math.ceil(measurement_s / (self._budget * step_s))
        pace = self._every or min(max(1, wanted), SLOWEST_PACE)
        self.cost = measurement_s / (pace * step_s)
        return pace

    def set_pace(self, pace: int) -> None:
        """Measures again this many steps after the last time."""
        self._next += pace - self.pace
        self.pace = pace

    def group_estimates(self) -> dict[str, Estimate]:
        """What is known about each group; empty for one group, and before the second measurement."""
        found = {name: smoother.read() for name, smoother in self._smoothers.items()}
        return {name: estimate for name, estimate in found.items() if estimate is not None}

    def fields(self) -> dict[str, Any]:
        """What is known now, for the journal."""
        estimate = self.estimate
        if estimate is None:
            return {}
        names = ["variance", "signal", "mean_square", "noise_scale", "low", "high", "steps"]
        names += [name for name in ("inner_variance", "orthogonal_variance") if getattr(estimate, name) is not None]
        groups = {
            f"{name}_of_groups": [getattr(group, name) for group in self.group_estimates().values()]
            for name in ("variance", "signal")
            if self._smoothers
        }
        return {name: getattr(estimate, name) for name in names} | groups

    def state_dict(self) -> dict[str, Any]:
        return {
            "smoother": self._smoother.state_dict(),
            "groups": [smoother.state_dict() for smoother in self._smoothers.values()],
            "samples_since": self._samples_since,
            "measurements": self.measurements,
            "next": self._next,
            "pace": self.pace,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._smoother.load_state_dict(state["smoother"])
        for smoother, saved in zip(self._smoothers.values(), state["groups"], strict=True):
            smoother.load_state_dict(saved)
        self._samples_since, self.measurements = state["samples_since"], state["measurements"]
        self._next, self.pace = state["next"], state["pace"]
        self.estimate = self._smoother.read()


def small_and_finite(parameters: Sequence[torch.nn.Parameter], largest: int = LARGEST_GUARD) -> bool:
    """Whether the gradients of the smaller tensors are finite: a few thousand numbers, read at every step.

    What makes the gradient of a weight infinite reaches the biases and gains beside it, whose gradients are sums of the
    same numbers; a large tensor alone goes unnoticed until the next measured step.
    """
    gradients = [p.grad for p in parameters if p.grad is not None and 0 < p.numel() <= largest]
    if not gradients:
        return True
    largest_each = torch._foreach_norm(gradients, math.inf)
    return bool(torch.stack([value.float() for value in largest_each]).isfinite().all())


def check_pieces(batches: AdaptiveBatches, n_ranks: int, least_passes: int) -> None:
    """Sees that a step has two pieces to tell apart.

    Raises:
        InputError: one rank takes one pass, and may not split it.
    """
    passes, _ = passes_and_micro_batch(batches.global_batch, n_ranks, batches.max_micro_batch)
    enough = n_ranks > 1 or passes > 1 or least_passes > 1
    require(
        enough,
        "split_passes",
        "false with one rank and one pass",
        "true; or two passes (max_micro_batch), or two ranks: a variance needs two pieces",
        "--split_passes true",
    )
