"""One function from (samples seen, batch at step 0, batch now) to the learning rate.

    learning rate = base * scale(batch now / reference) * ramp(epoch) * decay(epoch) * factor of the policy

    scaling   scale at k times the reference batch; k is that of step 0 where the policy couples batch and rate itself
    none      1: a growing batch replaces a decaying learning rate         Smith et al. 2018, 1711.00489
    linear    k                                                            Goyal et al. 2017, 1706.02677, section 2.1
    sqrt      sqrt(k): the variance of an update stays the same            You et al. 2019 (LEGW), 1901.08256
    adascale  the measured gain, whose clock may be that of the epochs e   adascale.py

    decay     factor at epoch e, after the warm-up W, of E epochs, with final fraction f
    constant  1
    step      gamma ^ (number of milestones <= e)
    poly      f + (1 - f) (1 - (e - W) / (E - W)) ^ power                  You et al. 2017 (LARS), 1708.03888: power 2
    cosine    f + (1 - f) (1 + cos(pi (e - W) / (E - W))) / 2              Loshchilov & Hutter 2017, 1608.03983
              W is ``decay_start`` where that is later: constant, then cosine

Samples are counted, never steps: a schedule in steps ends early when the batch grows. poly and cosine start after the
warm-up, so that the peak is reached, as in MLPerf's reference; the LARS paper's Algorithm 1 decays from step 0 and
never reaches it. If the batch changes inside the warm-up, a climb takes the place of scale and ramp (warmup.py). The
warm-up auto has an exponential rise in the place of the ramp, and an end that its losses find (auto_warmup.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from ..errors import real, require, whole
from .adascale import gain
from .auto_warmup import LEAST_EPOCHS, LONGEST, START, AutoWarmup
from .presets import PRESETS, left_to_preset
from .warmup import LENGTHS, Climb, ramp

WARMUPS = (*LENGTHS, "auto")
SCALINGS: dict[str, Callable[[float], float]] = {"none": lambda _: 1.0, "linear": lambda k: k, "sqrt": math.sqrt}


@dataclass(frozen=True)
class LearningRate:
    """A learning-rate schedule: learning rate / base learning rate as a function of samples and batches.

    Args:
        scaling: Growth with the batch: none, linear (Goyal), sqrt (LEGW) or adascale (measured gain). With policies
            that themselves couple batch and rate (adabatch, smith, seesaw, plateau, cabs), linear and sqrt count the
            batch at step 0 alone, and there is no adascale.
        warmup: Kind of warm-up: none, fixed (warmup_epochs long), legw (warmup_epochs * start batch / reference batch
            long), or auto (AutoWU: the rate rises exponentially to the given one over half of the run at most, until
            the losses have their minimum behind them, and goes back to that of the minimum; the batch stays until
            then).
        warmup_epochs: Length of the warm-up in epochs; with legw, its length at the reference batch.
        warmup_start: Learning rate at the start of the warm-up, as a part of that at its end (LEGW and MLPerf: 0); base
            is the base learning rate itself, from which that of a larger batch climbs to k times it (Goyal). With auto,
            0 stands for a hundred-thousandth.
        decay: Decay over the epochs: constant, step (milestones, gamma), poly (power, final) or cosine (final).
        milestones: Epochs at which the step decay multiplies the learning rate by gamma.
        gamma: Factor of the learning rate at each milestone of the step decay.
        power: Exponent of the poly decay; 2 in the LARS paper.
        final: Learning rate at the end of the poly and cosine decay, as a part of the peak.
        epochs: End of the poly and cosine decay, in epochs; the recipe's epochs when not given.
        reference_batch: Global batch for which the base learning rate was tuned, in samples; the batch at step 0 when
            not given.
        weight_decay: Scaling of the optimizer's weight decay: per_step keeps it; per_epoch scales it so that an epoch
            decays as much at any batch.
        beta2: Memory of the optimizer's second moments (LAMB, AdamW): per_step keeps beta2; per_epoch raises it to the
            power of batch / reference batch, so that the moments reach back as many samples at any batch.
        clock: Clock of warm-up, decay and the end of training: samples counts those seen; scale_invariant counts
            AdaScale's progress in samples of the reference batch, which takes more passes over the data. When not
            given, scale_invariant with adascale, samples otherwise.
        decay_start: Epoch at which the poly and cosine decay begin, after the warm-up: until then the rate stays. The
            end of the warm-up when not given.

    Raises:
        InputError: An argument is out of range, or another that it needs is missing.
    """

    scaling: Literal["none", "linear", "sqrt", "adascale"] = "none"
    warmup: Literal["none", "fixed", "legw", "auto"] = "none"
    warmup_epochs: float = 0.0
    warmup_start: float | Literal["base"] = 0.0
    decay: Literal["constant", "step", "poly", "cosine"] = "constant"
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    power: float = 2.0
    final: float = 0.0
    epochs: float | None = None
    reference_batch: int | None = None
    weight_decay: Literal["per_step", "per_epoch"] = "per_step"
    beta2: Literal["per_step", "per_epoch"] = "per_step"
    clock: Literal["samples", "scale_invariant"] | None = None
    decay_start: float | None = None

    def __post_init__(self) -> None:
        def check(condition: bool, field: str, allowed: str, example: str) -> None:
            name = f"learning_rate.{field}"
            require(condition, name, getattr(self, field), allowed, f"--{name} {example}")

        scalings = (*SCALINGS, "adascale")
        check(self.scaling in scalings, "scaling", ", ".join(scalings), "sqrt")
        check(self.warmup in WARMUPS, "warmup", ", ".join(WARMUPS), "legw")
        check(self.decay in ("constant", "step", "poly", "cosine"), "decay", "constant, step, poly, cosine", "poly")
        start, epochs = self.warmup_start, self.warmup_epochs
        if self.warmup == "auto":
            check(not self.measures, "scaling", "none, linear, sqrt with warmup auto, which finds the rate", "none")
            check(self.decay != "step", "decay", "constant, poly, cosine with warmup auto", "cosine")
            check(real(epochs) == 0, "warmup_epochs", "0 with warmup auto, which finds its length", "0")
            check(start != "base" and 0 <= real(start) < 1, "warmup_start", "0 to below 1 with warmup auto", "0")
        else:
            fits = 0 < real(epochs) < math.inf if self.warmup != "none" else real(epochs) == 0
            check(fits, "warmup_epochs", f"0 without warm-up, more with (warmup is {self.warmup})", "5")
            check(start == "base" or 0 <= real(start) <= 1, "warmup_start", "0 to 1, or base", "0")
        rising = isinstance(self.milestones, (tuple, list)) and all(
            real(a) < real(b) for a, b in pairwise((-math.inf, *self.milestones, math.inf))
        )
        wanted = bool(self.milestones) == (self.decay == "step")
        check(rising and wanted, "milestones", "increasing epochs with decay step, none with others", "[30,60,80]")
        check(0 < real(self.gamma) < math.inf, "gamma", "more than 0", "0.1")
        check(0 < real(self.power) < math.inf, "power", "more than 0", "2")
        check(0 <= real(self.final) <= 1, "final", "0 to 1", "0")
        check(self.epochs is None or 0 < real(self.epochs) < math.inf, "epochs", "more than 0", "90")
        if self.warmup == "auto" and self.epochs is not None:
            self.auto_warmup()
        begin, decays = self.decay_start, self.decay in ("poly", "cosine")
        fits = begin is None or (decays and 0 <= real(begin) < math.inf)
        check(fits, "decay_start", "0 or more with decay poly and cosine, none with others", "72")
        check(self.reference_batch is None or whole(self.reference_batch) >= 1, "reference_batch", "1 or more", "256")
        kept = ("per_step",) if self.measures else ("per_step", "per_epoch")
        why = " with adascale, whose steps decay by their gain" if self.measures else ""
        check(self.weight_decay in kept, "weight_decay", ", ".join(kept) + why, "per_step")
        check(self.beta2 in ("per_step", "per_epoch"), "beta2", "per_step, per_epoch", "per_epoch")
        clocks = ("samples", "scale_invariant") if self.measures else ("samples",)
        why = "" if self.measures else ", without scaling adascale"
        check(self.clock is None or self.clock in clocks, "clock", ", ".join(clocks) + why, "samples")

    @classmethod
    def from_preset(cls, preset: str, **given: Any) -> LearningRate:
        """Returns a published schedule: ``LearningRate.from_preset("legw", reference_batch=256, warmup_epochs=2)``.

        Args:
            preset: Name of the schedule: legw (1901.08256) is scaling sqrt, warmup legw; goyal (1706.02677) is scaling
                linear, warmup fixed over 5 epochs from base.
            given: Other fields; one that the preset sets as well holds. Both usually need reference_batch, and legw the
                warmup_epochs tuned for it.

        Raises:
            InputError: There is no such preset, or a field is out of range.
        """
        hint = "--learning_rate.preset legw"
        require(preset in tuple(PRESETS), "learning_rate.preset", preset, ", ".join(PRESETS), hint)
        return cls(**left_to_preset(preset, given), **given)

    def warmup_length(self, start_batch: int) -> float:
        """Returns the epochs of warm-up in a run that starts with this global batch; not for auto."""
        return LENGTHS[self.warmup](self.warmup_epochs, start_batch / (self.reference_batch or start_batch))

    def auto_warmup(self) -> AutoWarmup:
        """Returns the warm-up auto, at its beginning.

        Raises:
            InputError: ``epochs`` is missing, or too few for it.
        """
        given = "nothing" if self.epochs is None else f"{self.epochs:g}"
        allowed = f"{LEAST_EPOCHS} or more with warmup auto, which takes half of them at most"
        fits = self.epochs is not None and self.epochs >= LEAST_EPOCHS
        require(fits, "learning_rate.epochs", given, allowed, "--epochs 90")
        start = self.warmup_start if self.warmup_start != "base" else 0.0
        return AutoWarmup(LONGEST * (self.epochs or 0.0), float(start) or START)

    @property
    def measures(self) -> bool:
        """Reports whether the gradient's noise must be measured for this schedule."""
        return self.scaling == "adascale"

    @property
    def scale_invariant(self) -> bool:
        """Reports whether the schedule and the end of training go by AdaScale's clock."""
        return self.measures and self.clock != "samples"

    def most_epochs(self, epochs: float, start_batch: int, max_global_batch: int) -> float:
        """Returns the most passes over the data until the clock has reached so many epochs.

        AdaScale gains 1 at least from a step of S reference batches, so S passes make the progress of one at least.
        """
        scale = max_global_batch / (self.reference_batch or start_batch)
        return epochs * max(1.0, scale) if self.scale_invariant else epochs

    def gain(self, variance: float, signal: float, start_batch: int, global_batch: int) -> float:
        """Returns AdaScale's gain of the global batch over the reference batch (adascale.py)."""
        reference = self.reference_batch or start_batch
        return gain(variance, signal, scale=global_batch / reference, reference_batch=reference)

    def multiplier(
        self,
        samples_seen: float,
        samples_per_epoch: int,
        start_batch: int,
        global_batch: int,
        *,
        gain: float = 1.0,
        climb: Climb | None = None,
        auto: AutoWarmup | None = None,
    ) -> float:
        """Returns learning rate / base learning rate of the step after ``samples_seen`` samples.

        Args:
            samples_seen: Samples since the start of training, over all ranks, on the clock of the schedule.
            samples_per_epoch: Length of the training set, in samples.
            start_batch: Global batch at step 0, in samples.
            global_batch: Global batch of the step, in samples.
            gain: AdaScale's gain of this batch; not used with other scalings.
            climb: The warm-up since the batch changed last; None if it has never changed.
            auto: The run's own warm-up, where it goes by the losses; when not given, one that they do not end.

        Raises:
            InputError: The decay is poly or cosine, or the warm-up auto, and ``epochs`` is missing or too few for it.
        """
        epoch = samples_seen / samples_per_epoch
        if self.warmup == "auto":
            auto = auto or self.auto_warmup()
            return self._scale(global_batch, start_batch) * auto.height(epoch) * self._decay(epoch, auto.ends)
        warmup = self.warmup_length(start_batch)
        return self._height(epoch, start_batch, global_batch, gain, climb) * self._decay(epoch, warmup)

    def weight_decay_multiplier(self, start_batch: int, global_batch: int, scaling_batch: int | None = None) -> float:
        """Returns weight decay / the optimizer's own weight decay for a step of this global batch.

        A step takes the part lr * lambda of the weights away. With k times the batch an epoch has 1/k of the steps, so
        its decay falls to scale(k) / k. ``per_epoch`` multiplies lambda by k / scale(k), so that the timescale
        B / (lr lambda D) stays the same, for a data set of D samples (Bergsma et al. 2025,
        https://arxiv.org/abs/2505.13738: the best lambda is proportional to B at a fixed lr, which is scaling none).
        Warm-up, decay and the policy's factor are not compensated, because they change the timescale at the reference
        batch as well; nor is the trust ratio with which LARS and LAMB multiply lr.

        Args:
            start_batch: Global batch at step 0, in samples.
            global_batch: Global batch of the step, in samples.
            scaling_batch: Batch that the scaling of lr counts, in samples; the global batch when not given.
        """
        if self.weight_decay == "per_step":
            return 1.0
        return (
            global_batch
            / (self.reference_batch or start_batch)
            / self._scale(scaling_batch or global_batch, start_batch)
        )

    def beta2_of(self, beta2: float, start_batch: int, global_batch: int) -> float:
        """Returns the beta2 of a step of this global batch.

        A moment forgets half of what it holds after log(1/2) / log(beta2) steps. ``per_epoch`` keeps that number of
        samples: beta2^(B / B_ref) (Marek et al. 2025, https://arxiv.org/abs/2507.07101, section 3).

        Args:
            beta2: The optimizer's own, for the reference batch.
            start_batch: Global batch at step 0, in samples.
            global_batch: Global batch of the step, in samples.
        """
        if self.beta2 == "per_step":
            return beta2
        return float(beta2 ** (global_batch / (self.reference_batch or start_batch)))

    def climb(self, epoch: float, start_batch: int, after: int, known: Climb | None) -> Climb | None:
        """Returns the warm-up as it goes on with another batch; None with AdaScale, whose gain changes at once.

        None with the warm-up auto, too, in which the batch stays.

        Args:
            epoch: Epochs since the start of training.
            start_batch: Global batch at step 0, in samples.
            after: Global batch after the change, in samples.
            known: The climb before the change; None if there was none.
        """
        if self.measures or self.warmup == "auto":
            return None
        if known is None:
            peak = self._scale(start_batch, start_batch)
            known = Climb(0.0, peak * self._start(peak), self.warmup_length(start_batch), peak)
        length = LENGTHS[self.warmup](self.warmup_epochs, after / (self.reference_batch or start_batch))
        return known.resized(epoch, length, self._scale(after, start_batch))

    def _height(self, epoch: float, start_batch: int, global_batch: int, gain: float, climb: Climb | None) -> float:
        """Returns learning rate / base learning rate, without decay."""
        if climb is not None and epoch < climb.end:
            return climb.at(epoch)
        scale = gain if self.measures else self._scale(global_batch, start_batch)
        if climb is not None:
            return scale
        peak = gain if self.measures else self._scale(start_batch, start_batch)
        return scale * ramp(epoch, self.warmup_length(start_batch), self._start(peak))

    def _scale(self, batch: int, start_batch: int) -> float:
        """Returns the scale of a batch, in a run that starts with another one; not for adascale."""
        return SCALINGS[self.scaling](batch / (self.reference_batch or start_batch))

    def _start(self, peak: float) -> float:
        """Returns the start of a warm-up to this height, as a part of it; never above it."""
        return min(1.0, 1.0 / peak) if self.warmup_start == "base" else self.warmup_start

    def _decay(self, epoch: float, warmup: float) -> float:
        if self.decay == "constant":
            return 1.0
        if self.decay == "step":
            return self.gamma ** sum(milestone <= epoch for milestone in self.milestones)
        begin = max(warmup, self.decay_start or 0.0)
        until = f"the warm-up of {warmup:g} epochs" if begin == warmup else f"decay_start, which is {begin:g}"
        require(
            self.epochs is not None and self.epochs > begin,
            "learning_rate.epochs",
            self.epochs,
            f"more than {until}, for decay {self.decay}",
            "--learning_rate.epochs 90",
        )
        done = min(1.0, max(0.0, (epoch - begin) / ((self.epochs or 0) - begin)))  # part of the decay that is over
        left = (1.0 - done) ** self.power if self.decay == "poly" else (1.0 + math.cos(math.pi * done)) / 2.0
        return self.final + (1.0 - self.final) * left
