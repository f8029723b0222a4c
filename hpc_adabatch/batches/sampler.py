"""The order in which one rank reads an epoch.

It depends on the cursor at which the epoch is entered and on nothing that happens later, so a loader may read as far
ahead as it likes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from .plan import BatchPlan, permutation, share


class RankSampler(Sampler[int]):
    """A sampler of one rank's dataset indices, from the plan's cursor to the end of the plan's epoch.

    Args:
        plan: The cursor over the epochs' permutations.
        rank: Number of the rank, from 0 on.
        n_ranks: Number of ranks that share a global batch.

    Attributes:
        indices: Dataset indices of the epoch entered last, in order. Shape (samples of this rank,), int64.
    """

    def __init__(self, plan: BatchPlan, rank: int, n_ranks: int) -> None:
        self._plan, self._rank, self._n_ranks = plan, rank, n_ranks
        self.indices = torch.empty(0, dtype=torch.int64)

    def enter_epoch(self) -> None:
        """Fixes the order, from the plan's present epoch and cursor."""
        positions = share(self._plan.cursor, self._plan.n_samples, self._rank, self._n_ranks)
        order = permutation(self._plan.seed, self._plan.epoch, self._plan.n_samples)
        self.indices = torch.from_numpy(order[positions.start : positions.stop : positions.step].copy())

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices.tolist())

    def __len__(self) -> int:
        return len(self.indices)
