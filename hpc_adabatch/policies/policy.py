"""What a rule for the batch size is.

A rule is a function from how far training has come, and how noisy its gradients are, to the batch that it wants. Every
rank computes ``phase``; when it changes, rank 0 alone asks ``propose``, bounds the answer and broadcasts it
(coordinator.py). A rule may also lengthen the batch in hand before it is applied: then rank 0 asks ``extension``.

Not here: the rules (one file each), bounds and broadcast (coordinator.py), learning-rate schedules (learning_rate/).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..gradients import Estimate, Measurement


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where training stands, as a rule sees it."""

    samples_seen: int
    """Samples trained on since the start of training, over all ranks."""
    samples_per_epoch: int
    """Length of the training set."""
    start_batch: int
    """Global batch at step 0, in samples."""
    global_batch: int
    """Global batch now, in samples."""
    max_global_batch: int
    """The largest global batch allowed, in samples."""
    min_global_batch: int = 1
    """The smallest global batch that rules which measure may shrink to, in samples."""
    n_ranks: int = 1
    """Ranks that share the batch."""
    max_micro_batch: int | None = None
    """Samples that one rank passes through its device at once, at most; None: any number."""
    learning_rate: float = 0.0
    """Of the first parameter group, at the last step."""
    learning_rate_factor: float = 1.0
    """The policy's own factor of it, now."""
    epoch_loss: float | None = None
    """Mean training loss over the last whole epoch."""
    step_seconds: Mapping[int, float] = field(default_factory=dict)
    """Median seconds of a step, by global batch, for batches that took enough steps. On rank 0's clock."""
    measurements: int = 0
    """Steps whose gradients were measured so far."""
    estimate: Estimate | None = None
    """What is known about the gradient's noise; None before the second measurement."""

    @property
    def epochs_completed(self) -> int:
        return self.samples_seen // self.samples_per_epoch


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a rule wants from here on."""

    global_batch: int
    """Samples per optimizer step, over all ranks."""
    learning_rate_factor: float = 1.0
    """Multiplies the scheduled learning rate; 1 for rules that leave it alone."""
    noise: tuple[float, float] | None = None
    """Variance and signal for AdaScale, where the rule repeats those of another run."""
    reason: str
    """For people, in the journal."""


class Policy(ABC):
    """A rule for the global batch.

    Attributes:
        measures: whether it needs the gradient's noise measured.
        inner_products: whether it needs inner products of the pieces with the mean.
        extends: whether it lengthens batches before they are applied; then every step is measured.
        brings_noise: whether it brings the variance and signal that AdaScale needs.
        pieces: passes of each rank on measured steps, at least; 1 where ranks are pieces enough.
    """

    measures: ClassVar[bool] = False
    inner_products: ClassVar[bool] = False
    extends: ClassVar[bool] = False
    brings_noise: bool = False
    pieces: int = 1

    @property
    def initial_batch(self) -> int | None:
        """The batch that the rule itself starts with; None when the recipe's ``global_batch`` says it."""
        return None

    @property
    def foreseeable(self) -> bool:
        """True when the clock alone determines the batches, so that a plan can be printed before the run."""
        return True

    @property
    def largest_batch(self) -> int | None:
        """The largest batch that the rule will ask for, where it knows."""
        return None

    @abstractmethod
    def phase(self, progress: Progress) -> int:
        """A number that changes exactly when a proposal is due. It must not depend on the rank."""

    def first_phase(self, progress: Progress) -> int:
        """The phase that the initial batch stands for; where ``phase`` differs, a proposal is due before any step."""
        return self.phase(progress)

    @abstractmethod
    def propose(self, progress: Progress) -> Proposal:
        """The batch wanted now. Asked on rank 0 only."""

    def window_samples(self, samples_per_epoch: int, start_batch: int) -> float:
        """Samples that averages of measurements reach back.

        Raises:
            InputError: the rule's window is shorter than a batch.
        """
        return float(max(samples_per_epoch / 2, start_batch))

    def extension(self, measurement: Measurement, progress: Progress) -> int:
        """Samples to add to the batch in hand before it is applied; 0 when it is good. Asked on rank 0 only."""
        return 0

    def state_dict(self) -> dict[str, Any]:
        """What the rule must remember over a restart."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (most rules remember nothing)
        """Takes up what ``state_dict`` gave."""
