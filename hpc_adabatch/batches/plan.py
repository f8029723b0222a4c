"""One cursor over one permutation an epoch cuts the global batches.

Position p of an epoch belongs to rank p mod R, whatever the batch sizes are:

    epoch's permutation   | 0 1 2 3 4 5 6 7 8 9 ...                      (positions)
    rank of R = 3         | 0 1 2 0 1 2 0 1 2 0 ...
    global batches        [ 0 1 2 3 )[ 4 5 6 7 8 9 10 )[ ...             cut by the cursor, any size, any time

So no batch decision changes the order in which a rank's samples arrive. Loader workers may read ahead as far as they
like, and a decision holds from the very next step on: nothing read ahead is lost. One integer, the cursor, is the whole
state for any number of ranks: the positions of this epoch already trained on. No sample is padded, dropped or seen
twice.

What whole batches leave over is no step of its own: the gradient of a few samples at the learning rate of a large batch
undoes an epoch's training (docs/results/rests.md). The last steps of an epoch share the rest:

    left of the epoch       next step
    2 batches or more       one batch
    1.5 to 2 batches        half of what is left: the last two steps have 0.75 to 1 batch each
    1.5 batches or less     all that is left
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import require, whole


def permutation(seed: int, epoch: int, n_samples: int) -> np.ndarray:
    """Returns the order of the samples in one epoch, equal on all ranks and machines. Shape (n_samples,), int64."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch]))).permutation(n_samples)


def steps_per_epoch(n_samples: int, global_batch: int) -> int:
    """Returns the steps of an epoch with one global batch throughout, whose last steps share what it leaves over."""
    return max(1, -(-(2 * n_samples - global_batch) // (2 * global_batch)))


def next_size(left: int, global_batch: int) -> int:
    """Returns the samples of the next step, of those left of an epoch."""
    if 2 * left <= 3 * global_batch:
        return left
    return -(-left // 2) if left < 2 * global_batch else global_batch


def sizes_ahead(left: int, global_batch: int) -> set[int]:
    """Returns how many samples each of the next steps may have, to the epoch's end, while the global batch stays.

    Args:
        left: The samples left of the epoch.
        global_batch: The samples of a step.
    """
    sizes = {global_batch} if left >= 2 * global_batch else set()
    left -= max(0, left // global_batch - 1) * global_batch
    while left > 0:
        sizes.add(next_size(left, global_batch))
        left -= next_size(left, global_batch)
    return sizes


def rated(samples: int, global_batch: int) -> int:
    """Returns the batch whose learning rate a step has: the global batch, or its samples if they are less than 3/4.

    They are less only where the batch has grown near an epoch's end.
    """
    return global_batch if 4 * samples >= 3 * global_batch else samples


@dataclass(frozen=True)
class GlobalBatch:
    """The samples of one optimizer step over all ranks: positions [start, stop) of an epoch."""

    epoch: int
    """Number of the epoch, from 0 on."""
    start: int
    """First position."""
    stop: int
    """Position after the last one."""

    def __len__(self) -> int:
        return self.stop - self.start

    def share(self, rank: int, n_ranks: int) -> range:
        """Returns the positions of one rank; the ranks' shares differ by at most one sample and may be empty."""
        return share(self.start, self.stop, rank, n_ranks)


def share(start: int, stop: int, rank: int, n_ranks: int) -> range:
    """Returns the positions p in [start, stop) with p mod n_ranks == rank."""
    return range(start + (rank - start) % n_ranks, stop, n_ranks)


class BatchPlan:
    """A cursor that cuts each epoch into global batches whose size may change at every step.

    Args:
        n_samples: Length of the training set, in samples.
        seed: Seed of the permutations, an integer of 0 or more.

    Attributes:
        epoch: Number of the present epoch, from 0 on.
        cursor: Positions of this epoch already trained on.

    Raises:
        InputError: An argument is out of range.
    """

    def __init__(self, n_samples: int, seed: int) -> None:
        require(n_samples > 0, "training set", f"{n_samples} samples", "at least 1")
        require(whole(seed) >= 0, "seed", seed, "an integer >= 0", "--seed 0")
        self.n_samples = n_samples
        self.seed = seed
        self.epoch = 0
        self.cursor = 0

    @property
    def samples_seen(self) -> int:
        """Returns the samples trained on since the start of training, over all ranks."""
        return self.epoch * self.n_samples + self.cursor

    @property
    def epoch_finished(self) -> bool:
        """Reports whether all samples of this epoch are trained on."""
        return self.cursor == self.n_samples

    def cut(self, global_batch: int) -> GlobalBatch:
        """Returns the next global batch, in which the last steps of an epoch share what whole batches leave over.

        The cursor stays until ``advance``.
        """
        if global_batch < 1:
            raise ValueError(f"a global batch of {global_batch} samples")
        size = next_size(self.n_samples - self.cursor, global_batch)
        return GlobalBatch(self.epoch, self.cursor, self.cursor + size)

    def lengthen(self, batch: GlobalBatch, samples: int) -> GlobalBatch:
        """Returns a batch in hand with so many samples, or all that are left if less than half of them would stay."""
        left = self.n_samples - batch.start
        return GlobalBatch(batch.epoch, batch.start, batch.start + (left if 2 * left <= 3 * samples else samples))

    def advance(self, batch: GlobalBatch) -> None:
        """Moves the cursor past a batch that the optimizer has applied."""
        if (batch.epoch, batch.start) != (self.epoch, self.cursor):
            raise RuntimeError(f"{batch} does not start at epoch {self.epoch}, cursor {self.cursor}")
        self.cursor = batch.stop

    def next_epoch(self) -> None:
        """Begins the next epoch, with a new permutation."""
        if not self.epoch_finished:
            raise RuntimeError(f"epoch {self.epoch} has {self.n_samples - self.cursor} samples left")
        self.epoch, self.cursor = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Returns the length of the training set, the seed, the epoch and the cursor."""
        return {"n_samples": self.n_samples, "seed": self.seed, "epoch": self.epoch, "cursor": self.cursor}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restores epoch and cursor.

        Raises:
            InputError: The state is that of another training set or another seed.
        """
        for field in ("n_samples", "seed"):
            require(
                state[field] == getattr(self, field),
                field,
                getattr(self, field),
                f"{state[field]}, as in the checkpoint",
            )
        self.epoch, self.cursor = state["epoch"], state["cursor"]
