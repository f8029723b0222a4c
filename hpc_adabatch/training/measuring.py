"""The gradient's noise, measured every so many steps inside the loop.

    rank r    hooks on the parameters -> sum of b_i |g_i|^2, pieces            (rides in the step's message)
    all       after the sum over ranks: |g|^2 -> measurement -> average

Not here: the formulas (gradients/), what is decided from them (policies/).
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ..gradients import Estimate, Measurement, PieceMeter, Smoother


class Measuring:
    """Measures one step in ``every``.

    Args:
        parameters: all that are trained.
        window_samples: how far back the average reaches.
        every: steps between two measurements.
    """

    def __init__(self, parameters: list[torch.nn.Parameter], *, window_samples: float, every: int) -> None:
        self._meter = PieceMeter([parameters])
        self._smoother = Smoother(window_samples)
        self._every = every
        self._samples_since = 0
        self.measurements = 0
        self.active = False
        self.estimate: Estimate | None = None

    def begin_step(self, step: int) -> bool:
        """Puts the hooks on where this step is to be measured."""
        self.active = step % self._every == 0
        if self.active:
            self._meter.start()
        return self.active

    def begin_pass(self, samples: int, weight: float) -> None:
        """Before a backward pass of ``samples``, whose mean loss was multiplied by ``weight``."""
        if self.active:
            self._meter.piece(samples, weight)

    def message(self) -> list[torch.Tensor]:
        """After the last pass: the numbers to be summed over ranks; none on steps that are not measured."""
        if not self.active:
            return []
        self._meter.stop()
        squares = self._meter.square_sums()
        return [squares.new_tensor([self._meter.pieces]), squares]

    def end_step(self, summed: list[float], samples: int) -> bool:
        """Takes in the summed message; the gradients hold their mean now. False when they are not finite."""
        self._samples_since += samples
        if not self.active:
            return True
        self.active = False
        pieces, square_sum = int(summed[0]), summed[1]
        mean_square = float(self._meter.mean_squares().sum())
        if not (math.isfinite(square_sum) and math.isfinite(mean_square)):
            return False
        if pieces >= 2:
            measured = Measurement(square_sum=square_sum, mean_square=mean_square, samples=samples, pieces=pieces)
            self._smoother.add(measured, self._samples_since)
            self._samples_since = 0
            self.measurements += 1
            self.estimate = self._smoother.read()
        return True

    def fields(self) -> dict[str, Any]:
        """What is known now, for the journal."""
        estimate = self.estimate
        if estimate is None:
            return {}
        names = ("variance", "signal", "mean_square", "noise_scale", "low", "high", "steps")
        return {name: getattr(estimate, name) for name in names}

    def state_dict(self) -> dict[str, Any]:
        return {
            "smoother": self._smoother.state_dict(),
            "samples_since": self._samples_since,
            "measurements": self.measurements,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._smoother.load_state_dict(state["smoother"])
        self._samples_since, self.measurements = state["samples_since"], state["measurements"]
        self.estimate = self._smoother.read()
