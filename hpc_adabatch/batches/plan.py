"""One cursor over one permutation: which samples make which global batch.

Position p of an epoch belongs to rank p mod R, whatever the batch sizes are:

    epoch's permutation   | 0 1 2 3 4 5 6 7 8 9 ...                      (positions)
    rank of R = 3         | 0 1 2 0 1 2 0 1 2 0 ...
    global batches        [ 0 1 2 3 )[ 4 5 6 7 8 9 10 )[ ...             cut by the cursor, any size, any time

So a rank's samples arrive in an order that no batch decision changes. Loader workers may read ahead as far as they
like, and a decision holds from the very next step on: nothing read ahead is lost. One integer, the cursor, describes
the state for any number of ranks. No sample is padded, dropped or seen twice.

    name     meaning                                            unit
    cursor   positions of this epoch already trained on         samples

Not here: reading samples (loader.py), splitting a rank's share for memory (micro_batch.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import require


def permutation(seed: int, epoch: int, n_samples: int) -> np.ndarray:
    """The order of the samples in one epoch. Shape (n_samples,), int64; the same on every rank and machine."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch]))).permutation(n_samples)


@dataclass(frozen=True)
class GlobalBatch:
    """Positions [start, stop) of an epoch: the samples of one optimizer step over all ranks."""

    epoch: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def share(self, rank: int, n_ranks: int) -> range:
        """The positions of one rank; shares differ by at most one sample and may be empty."""
        return share(self.start, self.stop, rank, n_ranks)


def share(start: int, stop: int, rank: int, n_ranks: int) -> range:
    """Positions p in [start, stop) with p mod n_ranks == rank."""
    return range(start + (rank - start) % n_ranks, stop, n_ranks)


class BatchPlan:
    """Cuts each epoch into global batches whose size may change at every step.

    Args:
        n_samples: length of the training set.
        seed: of the permutations; any integer >= 0.
    """

    def __init__(self, n_samples: int, seed: int) -> None:
        require(n_samples > 0, "training set", f"{n_samples} samples", "at least 1")
        require(seed >= 0, "seed", seed, "an integer >= 0", "--seed 0")
        self.n_samples = n_samples
        self.seed = seed
        self.epoch = 0
        self.cursor = 0

    @property
    def samples_seen(self) -> int:
        """Samples trained on since the start of training."""
        return self.epoch * self.n_samples + self.cursor

    @property
    def epoch_finished(self) -> bool:
        return self.cursor == self.n_samples

    def cut(self, global_batch: int) -> GlobalBatch:
        """The next global batch, ragged at the end of the epoch. The cursor stays until ``advance``."""
        if global_batch < 1:
            raise ValueError(f"a global batch of {global_batch} samples")
        return GlobalBatch(self.epoch, self.cursor, min(self.cursor + global_batch, self.n_samples))

    def advance(self, batch: GlobalBatch) -> None:
        """The optimizer has applied this batch."""
        if (batch.epoch, batch.start) != (self.epoch, self.cursor):
            raise RuntimeError(f"{batch} does not start at epoch {self.epoch}, cursor {self.cursor}")
        self.cursor = batch.stop

    def next_epoch(self) -> None:
        """Turns to the next permutation."""
        if not self.epoch_finished:
            raise RuntimeError(f"epoch {self.epoch} has {self.n_samples - self.cursor} samples left")
        self.epoch, self.cursor = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        return {"n_samples": self.n_samples, "seed": self.seed, "epoch": self.epoch, "cursor": self.cursor}

    def load_state_dict(self, state: dict[str, int]) -> None:
        for field in ("n_samples", "seed"):
            require(
                state[field] == getattr(self, field),
                field,
                getattr(self, field),
                f"{state[field]}, as in the checkpoint",
            )
        self.epoch, self.cursor = state["epoch"], state["cursor"]
