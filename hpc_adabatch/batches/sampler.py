"""The order in which one rank reads an epoch.

    epoch                        read at position p    keys are made of
    each sample once             permutation[p]        permutation[p]
    draws with replacement       draws[p]              p: a sample that is drawn twice is augmented twice
    a stream (stream.py)         the stream's next     p

It depends on the cursor at which the epoch is entered and on nothing that happens later, so a loader may read as far
ahead as it likes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from .draws import Draws
from .keys import sample_keys
from .plan import BatchPlan, permutation, share


class RankPositions:
    """One rank's positions in an epoch, from the plan's cursor to the epoch's end.

    Args:
        plan: The cursor over the epochs.
        rank: Number of the rank, from 0 on.
        n_ranks: Number of ranks that share a global batch.

    Attributes:
        epoch: Number of the epoch entered last.
        positions: Positions of the rank in it.
    """

    def __init__(self, plan: BatchPlan, rank: int, n_ranks: int) -> None:
        self._plan, self._rank, self._n_ranks = plan, rank, n_ranks
        self.epoch, self.positions = 0, range(0)

    def enter_epoch(self) -> None:
        """Fixes the positions, from the plan's present epoch and cursor."""
        self.epoch = self._plan.epoch
        self.positions = share(self._plan.cursor, self._plan.n_samples, self._rank, self._n_ranks)

    def numbers(self, start: int, stop: int) -> torch.Tensor:
        """Returns the numbers of the rank's samples from one place to another, of which their keys are made (keys.py).

        Shape (samples,), int64.
        """
        return torch.tensor(self.positions[start:stop], dtype=torch.int64)

    def keys(self) -> torch.Tensor:
        """Returns the keys of the rank's samples (keys.py). Shape (samples of this rank,), int64."""
        return sample_keys(self._plan.seed, self.epoch, self.numbers(0, len(self.positions)))


class RankSampler(RankPositions, Sampler[int]):
    """A sampler of one rank's dataset indices, from the plan's cursor to the end of the plan's epoch.

    Args:
        plan: The cursor over the epochs.
        rank: Number of the rank, from 0 on.
        n_ranks: Number of ranks that share a global batch.
        draws: Draws with replacement; an epoch has each sample once when not given.

    Attributes:
        indices: Dataset indices at the rank's positions. Shape (samples of this rank,), int64.
    """

    def __init__(self, plan: BatchPlan, rank: int, n_ranks: int, draws: Draws | None = None) -> None:
        super().__init__(plan, rank, n_ranks)
        self._draws = draws
        self.indices = torch.empty(0, dtype=torch.int64)

    def enter_epoch(self) -> None:
        """Fixes the order, from the plan's present epoch and cursor."""
        super().enter_epoch()
        if self._draws is None:
            order = permutation(self._plan.seed, self.epoch, self._plan.n_samples)
        else:
            order = self._draws.of(self.epoch)
        own = slice(self.positions.start, self.positions.stop, self.positions.step)
        self.indices = torch.from_numpy(order[own].copy())

    def numbers(self, start: int, stop: int) -> torch.Tensor:
        return self.indices[start:stop] if self._draws is None else super().numbers(start, stop)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices.tolist())

    def __len__(self) -> int:
        return len(self.positions)
