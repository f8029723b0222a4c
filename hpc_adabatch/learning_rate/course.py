"""Where a run stands on its schedule: what the pure function of rule.py must be told, and remembers nothing of.

    clock    samples seen; with AdaScale those of its scale-invariant clock (adascale.py)
    noise    variance and signal as rank 0 has announced them, for AdaScale
    climb    the warm-up, where the batch has grown inside it (warmup.py)

Not here: the function itself (rule.py), applying the rate (training/).
"""

from __future__ import annotations

from typing import Any

from .rule import LearningRate
from .warmup import Climb


class Course:
    """A schedule, and how far a run has come on it.

    Args:
        rule: the schedule.
        samples_per_epoch: length of the training set.
        start_batch: global batch at step 0.

    Attributes:
        noise: variance and signal of the gradient, where AdaScale has been told them.
    """

    def __init__(self, rule: LearningRate, samples_per_epoch: int, start_batch: int) -> None:
        self.rule = rule
        self.noise: tuple[float, float] | None = None
        self._samples_per_epoch, self._start_batch = samples_per_epoch, start_batch
        self._clock: float = 0
        self._climb: Climb | None = None

    def multiplier(self, global_batch: int) -> float:
        """Learning rate over base of the next step, with this batch from the last ``resize`` on."""
        return self.rule.multiplier(
            self._clock,
            self._samples_per_epoch,
            self._start_batch,
            global_batch,
            gain=self._gain(global_batch),
            climb=self._climb,
        )

    def weight_decay_multiplier(self, global_batch: int) -> float:
        """Weight decay over that of the optimizer, of the next step."""
        return self.rule.weight_decay_multiplier(self._start_batch, global_batch)

    def advance(self, samples: int) -> None:
        """After a step of so many samples."""
        if self.rule.measures:
            self._clock += self._gain(samples) * (self.rule.reference_batch or self._start_batch)
        else:
            self._clock += samples

    def resize(self, before: int, after: int) -> None:
        """The batch changes."""
        if before != after:
            epoch = self._clock / self._samples_per_epoch
            self._climb = self.rule.climb(epoch, self._start_batch, before, after, self._climb)

    def _gain(self, samples: int) -> float:
        """AdaScale's gain of a batch of this many samples; 1 until the noise is known."""
        if self.noise is None or not self.rule.measures:
            return 1.0
        return self.rule.gain(*self.noise, self._start_batch, samples)

    def state_dict(self) -> dict[str, Any]:
        climb = self._climb
        told = [climb.epoch, climb.height, climb.end, climb.peak] if climb is not None else None
        return {"clock": self._clock, "noise": self.noise, "climb": told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._clock, self.noise = state["clock"], state["noise"]
        self._climb = Climb(*state["climb"]) if state["climb"] is not None else None
