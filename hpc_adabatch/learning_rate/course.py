"""A run's place on its learning-rate schedule, and the rates that an optimizer's groups get from it.

clock    samples seen; with the scale-invariant clock the progress, in samples of the reference batch (adascale.py)
noise    the gradient's variance and signal that rank 0 has announced, for AdaScale
climb    the rest of the warm-up, after the batch has changed inside it (warmup.py)
losses   those of a warm-up that ends by them, and its end (auto_warmup.py)

learning rate = base * multiplier * policy's factor     weight decay, beta2: from their own, if they follow the batch
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ..errors import InputError, require
from .auto_warmup import AutoWarmup, Look
from .rule import LearningRate
from .warmup import Climb


class Course:
    """A schedule together with how far a run has come on it.

    Args:
        rule: The schedule.
        samples_per_epoch: Length of the training set.
        start_batch: Global batch at step 0.
        couples: True if the policy itself couples batch and learning rate (``Policy.couples_rate``).

    Raises:
        InputError: The warm-up is auto, and the schedule's ``epochs`` is missing or too few.

    Attributes:
        clock: Samples on the clock of the schedule.
        couples: True if scaling and warm-up count the start batch.
        noise: Variance and signal of the gradient for AdaScale; None until they are known.
    """

    def __init__(self, rule: LearningRate, samples_per_epoch: int, start_batch: int, *, couples: bool = False) -> None:
        self.rule, self.couples = rule, couples
        self.noise: tuple[float, float] | None = None
        self._samples_per_epoch, self._start_batch = samples_per_epoch, start_batch
        self.clock = 0.0
        self._climb: Climb | None = None
        self._auto: AutoWarmup | None = rule.auto_warmup() if rule.warmup == "auto" else None

    def multiplier(self, global_batch: int) -> float:
        """Returns learning rate / base learning rate for the next step, which has this global batch."""
        return self.rule.multiplier(
            self.clock,
            self._samples_per_epoch,
            self._start_batch,
            self.scaling_batch(global_batch),
            gain=self._gain(global_batch),
            climb=self._climb,
            auto=self._auto,
        )

    def weight_decay_multiplier(self, global_batch: int) -> float:
        """Returns weight decay / base weight decay for the next step, which has this global batch."""
        return self.rule.weight_decay_multiplier(self._start_batch, global_batch, self.scaling_batch(global_batch))

    def beta2(self, beta2: float, global_batch: int) -> float:
        """Returns the beta2 of the next step, which has this global batch."""
        return self.rule.beta2_of(beta2, self._start_batch, global_batch)

    def scaling_batch(self, global_batch: int) -> int:
        """Returns the batch that the scaling counts at a step of this global batch."""
        return self._start_batch if self.couples else global_batch

    def advance(self, samples: int, global_batch: int, *, updated: bool = True, loss: float = math.nan) -> None:
        """Moves the clock past a step.

        Args:
            samples: The samples of the step. One of the last of an epoch, which may be longer than a batch, makes its
                part of a batch's progress, so that a fixed batch at the reference counts the samples seen.
            global_batch: The global batch whose learning rate it had.
            updated: False where the step was skipped: its samples are seen, but it made no progress.
            loss: The mean loss of the step; nan where nobody knows it.
        """
        if self._auto is not None and updated:
            self._auto.add(self._epoch, loss)
        if not self.rule.scale_invariant:
            self.clock += samples
        elif updated:
            reference = self.rule.reference_batch or self._start_batch
            self.clock += self._gain(global_batch) * samples * reference / global_batch

    def reached(self, epochs: float) -> bool:
        """Reports whether the clock has reached so many epochs."""
        return self.clock > epochs * self._samples_per_epoch - 0.5  # half a sample: the clock adds rounded numbers

    def resize(self, before: int, after: int) -> None:
        """Notes that the global batch changes here; a warm-up still open then goes on as a climb."""
        if before != after and not self.couples:
            self._climb = self.rule.climb(self._epoch, self._start_batch, after, self._climb)

    @property
    def holds(self) -> bool:
        """Reports whether the batch has to stay: a warm-up that ends by its losses is going on."""
        return self._auto is not None and self._auto.end is None

    def looks(self, *, epoch_finished: bool) -> bool:
        """Reports whether the losses are to be looked at here: at an epoch's end, and where the longest rise ends."""
        auto = self._auto
        return auto is not None and auto.end is None and (epoch_finished or self.reached(auto.longest))

    def look(self) -> Look:
        """Returns what the losses of the warm-up say; on rank 0 only, and once where ``looks`` says so."""
        assert self._auto is not None  # looks() has said so
        return self._auto.look(self._epoch)

    def end_warmup(self, height: float) -> None:
        """Ends the warm-up here, at this part of its top."""
        assert self._auto is not None  # only where it looks
        self._auto.stop(self._epoch, height)

    @property
    def _epoch(self) -> float:
        """Returns the epochs on the clock."""
        return self.clock / self._samples_per_epoch

    def _gain(self, samples: int) -> float:
        """Returns AdaScale's gain for a batch of this many samples; 1 until the noise is known."""
        if self.noise is None or not self.rule.measures:
            return 1.0
        return self.rule.gain(*self.noise, self._start_batch, samples)

    def state_dict(self) -> dict[str, Any]:
        """Returns clock, noise, climb and the losses of the warm-up, for a checkpoint."""
        climb = self._climb
        told = [climb.epoch, climb.height, climb.end, climb.peak] if climb is not None else None
        auto = {"auto": self._auto.state_dict()} if self._auto is not None else {}
        return {"clock": self.clock, "noise": self.noise, "climb": told, **auto}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from the place on the schedule that ``state_dict`` returned."""
        self.clock, self.noise = state["clock"], state["noise"]
        self._climb = Climb(*state["climb"]) if state["climb"] is not None else None
        if self._auto is not None:
            self._auto.load_state_dict(state["auto"])


class Rates:
    """A setter of an optimizer's learning rates, weight decays and betas from a course.

    Args:
        optimizer: The optimizer; what its groups hold at this moment is taken as the base values.
        course: The run's place on its schedule.
        searched: True where something else sets the learning rate, batch by batch.

    Raises:
        InputError: Its beta2 is to follow the batch, and it has none that may change between steps.

    Attributes:
        factor: The policy's factor of the learning rate.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, course: Course, *, searched: bool = False) -> None:
        self.factor = 1.0
        self._searched = searched
        self._optimizer, self._course = optimizer, course
        self._rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._decays = [group.get("weight_decay", 0.0) for group in optimizer.param_groups]
        self._held: list[float] | None = list(self._rates)
        self._betas: list[tuple[float, float]] = []
        if course.rule.beta2 == "per_epoch":
            name, fits = type(optimizer).__name__, all("beginning" in group for group in optimizer.param_groups)
            allowed = f"per_step with {name}, whose moments take one beta2 for all steps or have none"
            hint = "--optimizer adamw or lamb; in scripts LAMB, which is AdamW with adapt=False"
            require(fits, "learning_rate.beta2", "per_epoch", allowed, hint)
            self._betas = [tuple(group["betas"]) for group in optimizer.param_groups]

    def apply(self, global_batch: int) -> None:
        """Sets the groups for a step of this global batch; weight decay and beta2 only where they follow the batch.

        Raises:
            InputError: Something else has set a learning rate since, or has added a group.
        """
        groups, multiplier = self._optimizer.param_groups, self._multiplier(global_batch)
        if len(groups) != len(self._rates):
            given, allowed = f"{len(groups)} groups", f"the {len(self._rates)} that it had when training was made"
            raise InputError("optimizer", given, allowed, "AdaptiveTraining(...) after add_param_group")
        if self._held is not None and not self._searched and [group["lr"] for group in groups] != self._held:
            given = f"{groups[0]['lr']:g}, set by a scheduler or by hand"
            example = 'learning_rate=LearningRate(decay="cosine", epochs=90)'
            raise InputError("lr", given, "what the schedule of AdaptiveTraining sets at every step", example)
        self._held = [base * multiplier for base in self._rates]
        for group, rate in zip(groups, self._held, strict=True):
            group["lr"] = rate
        if self._course.rule.weight_decay == "per_epoch":
            more_decay = self._course.weight_decay_multiplier(global_batch)
            for group, base in zip(groups, self._decays, strict=True):
                group["weight_decay"] = base * more_decay
        for group, (beta1, beta2) in zip(groups, self._betas, strict=False):
            group["betas"] = beta1, self._course.beta2(beta2, global_batch)

    def forget(self) -> None:
        """Takes the rates that a state has brought with it as they are."""
        self._held = None

    def holding(self, global_batch: int) -> dict[str, float]:
        """Returns what the first group holds at a step of this global batch, and the factor, as journal fields."""
        held = {"learning_rate": self._rates[0] * self._multiplier(global_batch), "learning_rate_factor": self.factor}
        if self._course.rule.weight_decay == "per_epoch":
            held["weight_decay"] = self._decays[0] * self._course.weight_decay_multiplier(global_batch)
        if self._betas:
            held["beta2"] = self._course.beta2(self._betas[0][1], global_batch)
        if self._course.couples and self._course.rule.scaling != "none":
            held["scaling_batch"] = self._course.scaling_batch(global_batch)
        return held

    def _multiplier(self, global_batch: int) -> float:
        return self._course.multiplier(global_batch) * self.factor
