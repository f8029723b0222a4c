"""The gradient's noise, measured every so many steps inside the loop.

    rank r    hooks on the parameters -> sum of b_i |g_i|^2, pieces            (travels with its gradients)
    all       after the sum over ranks: |g|^2, inner products -> measurement -> averages, one a group and one for all
    rank 0    what a measurement took, against what a step takes -> steps until the next one (``pace``)

A measurement reads the gradients once for each pass, in hooks, and once after the sum. Both are timed; a GPU's hooks
only ask for work, so they count at least as much as readings after the sum, which wait for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..gradients import Estimate, Measurement, PieceMeter, Smoother
from ..optim.second_moments import Divisors

FIRST_PACE, SLOWEST_PACE = 10, 1000  # steps between two measurements: until times are known, and at most
Sum = Callable[[torch.Tensor], torch.Tensor]


class Measuring:
    """Measurements of one step in every few, and their averages.

    Args:
        groups: The trained parameters by the name of their group.
        window_samples: The samples that the averages reach back.
        every: The steps from one measurement to the next; None for as many as keep the cost below ``budget``.
        budget: The part of the training time that measuring may take.
        keep: The pieces that a rank keeps for inner products; 0 when those are not wanted.
        pieces: The passes of each rank on a measured step, at least.
        population: The samples of the training set, of which a batch holds none twice; None where they are drawn
            independently.
        divisors: Returns what gradients are divided by before they are measured, the same on all ranks; nothing is
            measured while it returns None. None to measure the gradients as they are.

    Attributes:
        active: True while the step in hand is measured.
        last: The last measurement; None before the first, or where a step had one piece only.
        estimate: The averages; None before the second measurement.
        measurements: The number of measurements so far.
        numbers: The numbers of its message.
        pace: The steps from one measurement to the next.
        cost: The part of the training time that measuring takes at this pace; nan until it is known.
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[torch.nn.Parameter]],
        *,
        window_samples: float,
        every: int | None,
        budget: float = 0.01,
        keep: int = 0,
        pieces: int = 1,
        population: int | None = None,
        divisors: Callable[[], Divisors | None] | None = None,
    ) -> None:
        self.pieces, self.numbers = pieces, 1 + len(groups)
        self._find_divisors = divisors
        self._divisors: Divisors | None = None  # of the step in hand
        self._population = population
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
        """Returns whether this step is to be measured."""
        self.active = step >= self._next
        if self.active:
            self._sums, self._readings, self._meter.seconds = [], 0, 0.0
            if self._find_divisors is not None:
                began_s = time.perf_counter()
                self._divisors = self._find_divisors()
                self._meter.seconds = time.perf_counter() - began_s
                self.active = self._divisors is not None
        if self.active:
            self._next = step + self.pace
        return self.active

    def begin_again(self) -> None:
        """Forgets the passes of the step in hand, which is made again."""
        self._sums, self._readings = [], 0

    def begin_passes(self, passes: int) -> None:
        """Puts the hooks on for so many backward passes; again for those that a growing batch adds."""
        if self.active:
            self._meter.start(passes=passes, keep=self._keep, divisors=self._divisors)

    def begin_pass(self, weight: float, factor: float) -> None:
        """Announces a backward pass whose loss is a mean over ``weight``, most often samples, times ``factor``."""
        if self.active:
            self._meter.piece(weight, factor)
            self._readings += 1

    def message(self) -> list[float | torch.Tensor]:
        """Returns after the last pass the numbers to be summed over ranks; none on steps that are not measured."""
        if not self.active:
            return []
        self._meter.stop()
        return [self._meter.pieces, self._meter.square_sums()]

    def take(self, summed: list[float], samples: int, weight: float, loss: float, add: Sum) -> bool:
        """Takes in the summed message of a measured step, whose gradients hold the mean over the batch now.

        Args:
            summed: The message, summed over ranks; earlier ones of the same step are added.
            samples: B, the samples of the batch.
            weight: W, what the losses are means over. A piece of weight w counts as w B / W samples.
            loss: The mean loss over them.
            add: Sums a small tensor over ranks, in place.

        Returns:
            False where something is not finite: all ranks skip the step.
        """
        began_s = time.perf_counter()
        self._sums = [a + b for a, b in zip(self._sums or [0.0] * len(summed), summed, strict=True)]
        part = samples / weight if weight else math.nan
        pieces, square_sums = int(self._sums[0]), [part * square_sum for square_sum in self._sums[1:]]
        mean_squares = self._meter.mean_squares().tolist()
        inner = part * float(add(self._meter.inner_square_sum())) if self._keep else None
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
                population=self._population,
            )
            self._groups = [
                Measurement(square_sum=a, mean_square=b, samples=samples, pieces=pieces, population=self._population)
                for a, b in zip(square_sums, mean_squares, strict=True)
            ]
        return True

    def end_step(self, samples: int, *, finite: bool) -> bool:
        """Ends a step of so many samples. Returns True when it was measured and is in the averages now.

        The averages do not age by a step that is skipped, because the gradients have not moved on.
        """
        if finite:
            self._samples_since += samples
        measured = self.active and finite and self.last is not None
        self.active, self._divisors = False, None
        if measured and self.last is not None:
            self._smoother.add(self.last, self._samples_since)
            for smoother, group in zip(self._smoothers.values(), self._groups, strict=False):
                smoother.add(group, self._samples_since)
            self._samples_since = 0
            self.measurements += 1
            self.estimate = self._smoother.read()
        return measured

    def affordable(self, step_s: float | None) -> int:
        """Returns the steps from one measurement to the next that the budget allows, by this rank's clock.

        Args:
            step_s: The seconds of a step; None when not known yet.
        """
        if step_s is None or not self._reading_s:  # neither is known in a process that has measured nothing yet
            return self.pace
        measurement_s = max(self._meter.seconds, self._readings * self._reading_s) + self._reading_s
        wanted = math.ceil(measurement_s / (self._budget * step_s))
        pace = self._every or min(max(1, wanted), SLOWEST_PACE)
        self.cost = measurement_s / (pace * step_s)
        return pace

    def adopt(self, pace: int) -> dict[str, Any]:
        """Sets the pace that rank 0 has announced. Returns what the journal says of it."""
        self.set_pace(pace)
        return {"measure_every": pace, "statistics_cost": self.cost}

    def set_pace(self, pace: int) -> None:
        """Lets the next measurement follow so many steps after the last one."""
        self._next += pace - self.pace
        self.pace = pace

    def group_estimates(self) -> dict[str, Estimate]:
        """Returns the averages of each group; empty for one group, and before the second measurement."""
        found = {name: smoother.read() for name, smoother in self._smoothers.items()}
        return {name: estimate for name, estimate in found.items() if estimate is not None}

    def fields(self) -> dict[str, Any]:
        """Returns the averages as the journal records them; nothing before the second measurement."""
        estimate = self.estimate
        if estimate is None:
            return {}
        names = ["variance", "signal", "signal_margin", "mean_square", "noise_scale", "low", "high", "steps"]
        names += [name for name in ("inner_variance", "orthogonal_variance") if getattr(estimate, name) is not None]
        groups = {
            f"{name}_of_groups": [getattr(group, name) for group in self.group_estimates().values()]
            for name in ("variance", "signal")
            if self._smoothers
        }
        return {name: getattr(estimate, name) for name in names} | groups

    def state_dict(self) -> dict[str, Any]:
        """Returns the averages, and when to measure next."""
        return {
            "smoother": self._smoother.state_dict(),
            "groups": [smoother.state_dict() for smoother in self._smoothers.values()],
            "samples_since": self._samples_since,
            "measurements": self.measurements,
            "next": self._next,
            "pace": self.pace,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what ``state_dict`` returned."""
        self._smoother.load_state_dict(state["smoother"])
        for smoother, saved in zip(self._smoothers.values(), state["groups"], strict=True):
            smoother.load_state_dict(saved)
        self._samples_since, self.measurements = state["samples_since"], state["measurements"]
        self._next, self.pace = state["next"], state["pace"]
        self.estimate = self._smoother.read()


class NotMeasuring:
    """A stand-in for measurements where no rule wants them."""

    active = False
    last: Measurement | None = None
    estimate: Estimate | None = None
    measurements = numbers = 0
    pieces = 1
    pace = 0

    def begin_step(self, step: int) -> bool:
        """Returns False: no step is measured."""
        return False

    def begin_again(self) -> None:
        """Forgets nothing."""

    def begin_passes(self, passes: int) -> None:
        """Hangs no hooks."""

    def begin_pass(self, weight: float, factor: float) -> None:
        """Measures nothing."""

    def message(self) -> list[float | torch.Tensor]:
        """Returns nothing to be summed over ranks."""
        return []

    def take(self, summed: list[float], samples: int, weight: float, loss: float, add: Sum) -> bool:
        """Returns True: nothing was found that is not finite."""
        return True

    def end_step(self, samples: int, *, finite: bool) -> bool:
        """Returns False: the step was not measured."""
        return False

    def affordable(self, step_s: float | None) -> int:
        """Returns 1, the pace that stands in every decision of a run without measurements."""
        return 1

    def adopt(self, pace: int) -> dict[str, Any]:
        """Returns nothing to record."""
        return {}

    def group_estimates(self) -> dict[str, Estimate]:
        """Returns no estimates."""
        return {}

    def fields(self) -> dict[str, Any]:
        """Returns nothing to record."""
        return {}

    def state_dict(self) -> None:
        """Returns None, as there is nothing to remember."""

    def load_state_dict(self, state: object) -> None:
        """Takes up nothing."""
