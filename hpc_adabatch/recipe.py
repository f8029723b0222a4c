"""A run as it is written down: what to learn, with which rule, optimizer and schedule.

Not here: files and flags (command_line.py), carrying it out (run/run.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from .batches import AdaptiveBatches
from .errors import require
from .learning_rate import LearningRate
from .optim import OptimizerOptions
from .policies import Policy
from .tasks import Task, TaskData
from .training.options import LoopOptions


@dataclass(frozen=True, kw_only=True)
class Options(LoopOptions):
    """Size, length and loop of the run."""

    global_batch: int | None = None
    """Samples per optimizer step over all ranks, at the start; a schedule brings its own."""
    max_global_batch: int | None = None
    """The largest it may become; the whole training set when not given."""
    min_global_batch: int | None = None
    """The smallest that rules which measure may shrink it to; global_batch when not given."""
    max_micro_batch: int | None = None
    """The most samples one rank passes through its device at once; global_batch when not given."""
    epochs: int = 10
    """Passes over the training set."""
    seed: int = 0
    """Of weights, order of samples, and augmentation."""
    model: str | None = None
    """Network by name; the task's own when not given."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of activations, by autocast; weights and statistics stay float32. float16 scales the loss."""
    channels_last: bool = False
    """Memory layout of activations; weights stay contiguous, because Horovod takes no others."""
    workers: int = 0
    """Processes that read samples ahead, per rank, when they are not in memory."""
    evaluation_batch: int = 500
    """Test samples per pass of one rank."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, example in (("epochs", 10), ("evaluation_batch", 500)):
            value = getattr(self, name)
            require(value >= 1, name, value, "1 or more", f"--{name} {example}")
        for name in ("global_batch", "min_global_batch", "max_global_batch", "max_micro_batch"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "1 or more", f"--{name} 64")
        require(self.seed >= 0, "seed", self.seed, "0 or more", "--seed 0")
        require(self.workers >= 0, "workers", self.workers, "0 or more", "--workers 2")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A run, checked as far as it can be without its data."""

    name: str
    """Of the run, for people."""
    chosen: dict[str, str]
    """Names of task, policy and optimizer, as in the recipe."""
    task: Task
    policy: Policy
    optimizer: OptimizerOptions
    learning_rate: LearningRate
    options: Options

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
        require(
            not searched or self.learning_rate == LearningRate(),
            "learning_rate",
            "a schedule",
            f"none with optimizer {name}, which searches its steps",
            "the recipe without learning_rate",
        )

    @property
    def global_batch(self) -> int:
        """Samples per step at the start."""
        batch = self.options.global_batch or self.policy.initial_batch
        assert batch is not None  # checked at construction
        return batch

    @property
    def model_name(self) -> str:
        """Network by name."""
        return self.options.model or self.task.default_model

    @property
    def schedule(self) -> LearningRate:
        """The learning-rate schedule, ending with the run where the recipe does not say when."""
        rule = self.learning_rate
        return rule if rule.epochs is not None else replace(rule, epochs=float(self.options.epochs))

    def batches(self, data: TaskData) -> AdaptiveBatches:
        """The task's training set with the recipe's batch.

        Raises:
            InputError: the sizes do not fit the data, or the schedule does not fit the epochs.
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
