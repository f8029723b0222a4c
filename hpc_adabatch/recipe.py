"""A run as it is written down: its task, rule for the batch, optimizer and schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from .batches import AdaptiveBatches
from .errors import InputError, require, whole
from .learning_rate import LearningRate
from .optim import OptimizerOptions
from .policies import Policy
from .tasks import Task, TaskData
from .tasks.own import is_own, own_network, place
from .training.options import LoopOptions, check_rates

UNFIT = (RuntimeError, ValueError, AssertionError, ZeroDivisionError)
"""The errors by which networks of torch and torchvision say that samples do not fit."""


@dataclass(frozen=True, kw_only=True)
class Options(LoopOptions):
    """Options of a run: its size and length, and those of the loop."""

    global_batch: int | None = None
    """The samples of an optimizer step over all ranks, at the start; a schedule brings its own."""
    max_global_batch: int | None = None
    """The largest global batch allowed; the whole training set when not given."""
    min_global_batch: int | None = None
    """The smallest global batch to which rules that measure may shrink; global_batch when not given."""
    max_micro_batch: int | Literal["auto"] | None = None
    """The most samples that one rank passes through its device at once; global_batch when not given. With auto all
    ranks find together how many fit, and go to smaller passes when they no longer do."""
    epochs: int = 10
    """The number of passes over the training set; on AdaScale's clock, of passes at the reference batch."""
    seed: int = 0
    """The seed of weights, order of samples, and augmentation."""
    model: str | None = None
    """The network by name, or module:function of your own; the task's own when not given."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """The precision of activations, by autocast; weights and statistics stay float32. float16 scales the loss."""
    channels_last: bool = False
    """True for activations in the memory layout channels last; weights stay contiguous, as Horovod requires."""
    weight_average: float | None = None
    """The part of an exponential average of the weights that stays at an update of as many samples as the first one,
    0 to below 1; an update on more samples counts as several (2307.13813). It is evaluated beside the weights."""
    engine: Literal["auto", "horovod", "torch"] = "auto"
    """The library that sums over ranks; auto takes Horovod where it loads on every rank and knows the launcher."""
    workers: int = 0
    """The processes of each rank that read samples ahead, when these are not in memory."""
    evaluation_batch: int = 500
    """The number of test samples in one pass of one rank."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, example in (("epochs", 10), ("evaluation_batch", 500)):
            value = getattr(self, name)
            require(value >= 1, name, value, "1 or more", f"--{name} {example}")
        for name in ("global_batch", "min_global_batch", "max_global_batch"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "1 or more", f"--{name} 64")
        micro = self.max_micro_batch
        fits = micro in (None, "auto") or whole(micro) >= 1
        require(fits, "max_micro_batch", micro, "1 or more, or auto", "--max_micro_batch 64")
        average = self.weight_average
        fits = average is None or 0 <= average < 1
        require(fits, "weight_average", average, "0 to below 1, or null", "--weight_average 0.999")
        require(self.seed >= 0, "seed", self.seed, "0 or more", "--seed 0")
        require(self.workers >= 0, "workers", self.workers, "0 or more", "--workers 2")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe, checked as far as it can be without its data."""

    name: str
    """The name of the run, for people."""
    chosen: dict[str, str]
    """The names of task, policy and optimizer, as in the recipe."""
    task: Task
    """The data, its networks, loss and metric."""
    policy: Policy
    """The rule for the global batch."""
    optimizer: OptimizerOptions
    """The optimizer with its options."""
    learning_rate: LearningRate
    """The schedule over the base learning rate, as the recipe gives it."""
    options: Options
    """The size and length of the run, and the options of its loop."""

    def __post_init__(self) -> None:
        given, own = self.options.global_batch, self.policy.initial_batch
        require(given is not None or own is not None, "global_batch", "nothing", "1 or more", "--global_batch 64")
        require(
            given is None or own is None or given == own,
            "global_batch",
            given,
            f"{own}, with which the policy starts",
            f"--global_batch {own}",
        )
        searched, name = self.optimizer.step_size() is not None, self.chosen["optimizer"]
        self.options.check_optimizer(name, searches=searched, has_trust_ratios=self.optimizer.has_trust_ratios)
        check_rates(self.policy, self.schedule, self.optimizer.step_size())

    @property
    def global_batch(self) -> int:
        """Returns the samples of a step at the start."""
        batch = self.options.global_batch or self.policy.initial_batch
        assert batch is not None  # checked at construction
        return batch

    @property
    def model_name(self) -> str:
        """Returns the name of the network."""
        return self.options.model or self.task.default_model

    def network(self, data: TaskData) -> nn.Module:
        """Returns the recipe's network with fresh weights: the task's by this name, or the user's own.

        Raises:
            InputError: There is no such network, or none for samples of this shape.
        """
        name = self.model_name
        try:
            return own_network(name, data) if is_own(name) else self.task.model(name, data)
        except InputError:
            raise
        except UNFIT as error:
            raise self.unfit(data, error) from error

    def unfit(self, data: TaskData, error: Exception) -> InputError:
        """Returns the line for a network that does not take the samples.

        Args:
            data: The data of the task.
            error: The error that the network raised, one of UNFIT.
        """
        shape = "x".join(map(str, data.sample_shape))
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if is_own(self.model_name):
            reason += place(error, self.model_name)
        return InputError("model", f"{self.model_name} ({reason})", f"one that takes samples of {shape}")

    @property
    def schedule(self) -> LearningRate:
        """Returns the learning-rate schedule, which ends with the run where the recipe does not say when."""
        rule = self.learning_rate
        return rule if rule.epochs is not None else replace(rule, epochs=float(self.options.epochs))

    @property
    def reference_batch(self) -> int:
        """Returns the batch to which updates are compared: that of AdaScale's clock, else the one at the start."""
        reference = self.schedule.reference_batch if self.schedule.scale_invariant else None
        return reference or self.global_batch

    def length(self, batches: AdaptiveBatches) -> str:
        """Returns in words how many passes over the data a run on AdaScale's clock takes."""
        epochs, reference = self.options.epochs, self.reference_batch
        most = self.schedule.most_epochs(epochs, self.global_batch, batches.max_global_batch)
        return (
            f"{epochs} epochs on AdaScale's clock: the progress of {epochs} passes at batch {reference}, in at most"
            f" {most:.6g} passes; --learning_rate.clock samples ends after {epochs}"
        )

    def rise(self) -> str:
        """Returns in words what of the warm-up auto is known before the run."""
        warmup, batch = self.schedule.auto_warmup(), self.global_batch
        longest, each = warmup.longest, warmup.height(1.0) / warmup.height(0.0)
        first, top = (self.optimizer.lr * self.schedule.multiplier(epoch, 1, batch, batch) for epoch in (0.0, longest))
        return (
            f"warm-up auto: the learning rate rises from {first:.4g} to {top:.4g} until epoch {longest:g} at most, by a"
            f" factor of {each:.3g} an epoch; the losses say when it ends and at which rate; the batch stays until then"
        )

    def batches(self, data: TaskData) -> AdaptiveBatches:
        """Returns the task's training set with the recipe's batch.

        Raises:
            InputError: The sizes do not fit the data, or the schedule does not fit the epochs.
        """
        batches = AdaptiveBatches(
            data.train,
            self.global_batch,
            max_global_batch=self.options.max_global_batch,
            min_global_batch=self.options.min_global_batch,
            max_micro_batch=self.options.max_micro_batch,
            seed=self.options.seed,
            workers=self.options.workers,
            transform=data.augment,
        )
        n_samples = batches.plan.n_samples
        self.schedule.multiplier(0, n_samples, self.global_batch, self.global_batch)
        largest = self.policy.largest_batch or 0
        allowed = f"at most {batches.max_global_batch}, the maximum"
        require(largest <= batches.max_global_batch, "policy", largest, allowed, f"--max_global_batch {largest}")
        return batches
