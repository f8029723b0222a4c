"""Options of the loop that a script and a recipe share, each checked where it is given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from ..errors import real, require, whole
from ..learning_rate import LearningRate
from ..optim.armijo import Armijo
from ..policies import AdaBatch, Policy

Compression = Literal["none", "fp16"]
Geometry = Literal["gradient", "optimizer"]


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """Options of the training loop, all of which have a default.

    Args:
        clip_norm: The largest length of the averaged gradient: a longer one is shortened to it before the optimizer's
            step.
        compression: The form in which gradients travel between ranks. fp16 halves the bytes; entries below 6e-8 become
            0.
        split_passes: On one rank, a measured step that would take one pass takes two, because a variance needs two
            pieces.
        measure_every: Steps from one measurement of the gradient's noise to the next; by default as often as
            statistics_budget allows. A number makes runs repeatable.
        noise_geometry: Length by which noise is measured: that of the gradient, or, as optimizer, of it divided by the
            root of the optimizer's second moments, along which AdamW and LAMB step.
        statistics_budget: The part of the training time that measuring the gradient's noise may take, for rules that
            follow it.
        max_skipped: The steps in a row that may be skipped, because a loss or a gradient is not finite, before training
            has diverged and all ranks end it. float16 skips a handful while it finds its loss scale.
        checkpoint_minutes: Minutes from one checkpoint to the next inside an epoch; auto finds them from what a
            checkpoint costs and how often this job has failed (Daly 2006). The end of an epoch has one of its own.
        checkpoint_steps: Steps from one checkpoint to the next inside an epoch.
        journal_every: Steps from one record of statistics to the next.
        journal_trust_ratios: Also records the trust ratio of each layer, with optimizers that have them.

    Raises:
        InputError: A value is out of range.
    """

    clip_norm: float | None = None
    compression: Compression = "none"
    split_passes: bool = True
    measure_every: int | None = None
    noise_geometry: Geometry = "gradient"
    statistics_budget: float = 0.01
    max_skipped: int = 100
    checkpoint_minutes: float | Literal["auto"] | None = "auto"
    checkpoint_steps: int | None = None
    journal_every: int = 10
    journal_trust_ratios: bool = False

    def __post_init__(self) -> None:
        clip, budget = self.clip_norm, self.statistics_budget
        require(clip is None or real(clip) > 0, "clip_norm", clip, "more than 0, or null", "--clip_norm 1")
        known = get_args(Compression)
        require(self.compression in known, "compression", self.compression, ", ".join(known), "--compression fp16")
        known = get_args(Geometry)
        hint = "--noise_geometry optimizer"
        require(self.noise_geometry in known, "noise_geometry", self.noise_geometry, ", ".join(known), hint)
        every = self.measure_every
        require(every is None or whole(every) >= 1, "measure_every", every, "1 or more, or null", "--measure_every 10")
        hint = "--statistics_budget 0.01"
        require(0 < real(budget) <= 1, "statistics_budget", budget, "more than 0, at most 1", hint)
        require(whole(self.max_skipped) >= 1, "max_skipped", self.max_skipped, "1 or more", "--max_skipped 100")
        minutes, steps, hint = self.checkpoint_minutes, self.checkpoint_steps, "--checkpoint_minutes 10"
        fits = minutes in ("auto", None) or real(minutes) > 0
        require(fits, "checkpoint_minutes", minutes, "auto, more than 0, or null", hint)
        fits = steps is None or whole(steps) >= 1
        require(fits, "checkpoint_steps", steps, "1 or more, or null", "--checkpoint_steps 1000")
        require(whole(self.journal_every) >= 1, "journal_every", self.journal_every, "1 or more", "--journal_every 10")

        for name in ("split_passes", "journal_trust_ratios"):
            value = getattr(self, name)
            require(isinstance(value, bool), name, value, "true or false", f"--{name} true")

    def check_optimizer(self, name: str, *, searches: bool, has_trust_ratios: bool) -> None:
        """Sees that these options fit the optimizer.

        Args:
            name: The optimizer, for the message.
            searches: Its step size is searched along the gradient.
            has_trust_ratios: It computes a trust ratio for each layer.

        Raises:
            InputError: The gradient would be clipped before a search, or there are no trust ratios to record.
        """
        allowed = f"none with optimizer {name}, which searches its steps along the whole gradient"
        require(not searches or self.clip_norm is None, "clip_norm", self.clip_norm, allowed, "--clip_norm null")
        fits = has_trust_ratios or not self.journal_trust_ratios
        require(fits, "journal_trust_ratios", True, f"false with optimizer {name}, which has none", "--optimizer lars")


def check_rates(policy: Policy, learning_rate: LearningRate, step_size: Armijo | None) -> None:
    """Sees that no two of schedule, rule for the batch and search set the learning rate for the same reason.

    Args:
        policy: The rule for the global batch.
        learning_rate: The schedule.
        step_size: The rule that searches the step size; None where the schedule sets it.

    Raises:
        InputError: Two of them do; or nothing makes the batch grow that a search needs.
    """
    rule, schedule = type(policy).__name__, learning_rate
    if step_size is not None:
        search, plain = type(step_size).__name__, replace(schedule, epochs=None) == LearningRate()
        allowed = f"none with {search}, which searches its steps"
        require(plain, "learning_rate", "a schedule", allowed, "no learning_rate at all")
        # with a batch that stays, the step falls with 1 - variance / (batch |gradient|^2), and nothing lifts it
        allowed = f"a rule that measures the gradient's noise, with {search}, whose steps the noise shortens"
        require(policy.measures or not step_size.needs_variance, "policy", rule, allowed, "--policy big_batch")
    if policy.couples_rate:
        allowed = f"none, linear or sqrt with {rule}, which couples batch and learning rate itself"
        hint = "--learning_rate.scaling none"
        require(not schedule.measures, "learning_rate.scaling", schedule.scaling, allowed, hint)
        allowed, hint = f"none, fixed or legw with {rule}, which goes by the rate itself", "--learning_rate.warmup none"
        require(schedule.warmup != "auto", "learning_rate.warmup", "auto", allowed, hint)
    if isinstance(policy, AdaBatch):
        scales = schedule.scaling != "none" and schedule.reference_batch is not None
        once = policy.warmup_epochs == 0 or (schedule.warmup == "none" and not scales)
        allowed = "0 where learning_rate warms up, or scales from a reference_batch, itself"
        hint = "--policy.warmup_epochs 0 --policy.baseline_batch null"
        require(once, "policy.warmup_epochs", policy.warmup_epochs, allowed, hint)
