"""The interface of a rule for the batch size.

A rule maps the progress of training and the noise of its gradients to the global batch that it wants. Every rank
computes ``phase``; when the phase changes, rank 0 asks ``propose``, bounds the answer and broadcasts it
(training/coordinator.py). A rule may also lengthen the batch in hand before the update: for that, rank 0 asks
``extension``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..gradients import Estimate, Measurement


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of training that a rule decides from.

    Args:
        samples_seen: Samples trained on since the start, over all ranks.
        samples_per_epoch: Length of the training set, in samples.
        start_batch: Global batch at step 0, in samples.
        global_batch: Present global batch, in samples.
        max_global_batch: Largest global batch allowed, in samples.
        min_global_batch: Smallest global batch to which a rule that measures may shrink, in samples.
        n_ranks: Number of ranks that share the global batch.
        max_micro_batch: Largest micro-batch of a rank, in samples; None if there is no limit.
        learning_rate: Learning rate of the first parameter group at the last step.
        learning_rate_factor: Present factor that the rule itself has put on the learning rate.
        epoch_loss: Mean training loss of the last complete epoch; None before the first is complete.
        step_seconds: Median seconds of a step by global batch, on rank 0's clock, for each batch that took enough
            steps.
        pass_seconds: Median seconds of the passes of such a step, which are the part that grows with the batch.
        measurements: Number of steps so far whose gradients were measured.
        estimate: Estimate of the gradient's noise; None before the second measurement.
    """

    samples_seen: int
    samples_per_epoch: int
    start_batch: int
    global_batch: int
    max_global_batch: int
    min_global_batch: int = 1
    n_ranks: int = 1
    max_micro_batch: int | None = None
    learning_rate: float = 0.0
    learning_rate_factor: float = 1.0
    epoch_loss: float | None = None
    step_seconds: Mapping[int, float] = field(default_factory=dict)
    pass_seconds: Mapping[int, float] = field(default_factory=dict)
    measurements: int = 0
    estimate: Estimate | None = None

    @property
    def epochs_completed(self) -> int:
        """Returns the number of complete epochs."""
        return self.samples_seen // self.samples_per_epoch


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The batch and the learning-rate factor that a rule wants from the next step on.

    Args:
        global_batch: Global batch, in samples.
        learning_rate_factor: Factor of the scheduled learning rate; 1 for rules that leave the learning rate alone.
        noise: Variance and signal for AdaScale, from a rule that repeats those of another run.
        reason: The reason, for people who read the journal.
    """

    global_batch: int
    learning_rate_factor: float = 1.0
    noise: tuple[float, float] | None = None
    reason: str


class Policy(ABC):
    """A rule for the global batch.

    Attributes:
        measures: True if the rule needs measurements of the gradient's noise.
        inner_products: True if the rule needs the inner products of the pieces' gradients with the mean gradient.
        extends: True if the rule may lengthen a batch before the update; every step is then measured.
        couples_rate: True if the rule itself says what becomes of the learning rate where the batch changes, or takes
            the batch from the rate; scaling and warm-up of the schedule then count the batch at step 0 alone.
        brings_noise: True if the rule itself brings the variance and signal that AdaScale needs.
        any_geometry: True if the rule compares the noise with the signal alone, so that both may be measured on
            gradients whose entries were divided by something.
        pieces: Least number of passes of each rank on a measured step; 1 if the ranks are pieces enough.
    """

    measures: ClassVar[bool] = False
    inner_products: ClassVar[bool] = False
    extends: ClassVar[bool] = False
    any_geometry: ClassVar[bool] = False
    couples_rate: bool = False
    brings_noise: bool = False
    pieces: int = 1

    @property
    def initial_batch(self) -> int | None:
        """Returns the global batch that the rule itself starts with; None if the recipe's ``global_batch`` sets it."""
        return None

    @property
    def foreseeable(self) -> bool:
        """Reports whether samples seen alone determine the batches, so that they can be printed before the run."""
        return True

    @property
    def largest_batch(self) -> int | None:
        """Returns the largest global batch that the rule will ever propose; None if that is not known beforehand."""
        return None

    @abstractmethod
    def phase(self, progress: Progress) -> int:
        """Returns a number that changes exactly when a proposal is due; it is equal on all ranks."""

    def first_phase(self, progress: Progress) -> int:
        """Returns the phase of the initial batch; if ``phase`` differs, a proposal is due before the first step."""
        return self.phase(progress)

    @abstractmethod
    def propose(self, progress: Progress) -> Proposal:
        """Returns the batch and learning-rate factor wanted now; called on rank 0 only."""

    def window_samples(self, samples_per_epoch: int, start_batch: int) -> float:
        """Returns the window of the averages over measurements, in samples.

        Raises:
            InputError: The rule's window is shorter than a batch.
        """
        return float(max(samples_per_epoch / 2, start_batch))

    def extension(self, measurement: Measurement, progress: Progress) -> int:
        """Returns the samples to add to the batch in hand; 0 if it is large enough; called on rank 0 only."""
        return 0

    def state_dict(self) -> dict[str, Any]:
        """Returns what the rule must remember over a restart."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (most rules remember nothing)
        """Restores what ``state_dict`` returned."""
