"""A rank's samples in order, any number at a time.

Batch decisions never reach the workers. They read chunks of one fixed size in the order of the sampler; a micro-batch
is cut from the chunks that have arrived:

    workers   [ chunk ][ chunk ][ chunk ][ chunk ]  ...read ahead
    taken     [ 24 ][ 24 ][    48    ][    48    ]  ...as the batch is now

So the batch may change at every step, with any number of workers, and no loader is restarted for it.

Not here: the order (sampler.py), how many to take (plan.py, micro_batch.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .sampler import RankSampler

Columns = tuple[torch.Tensor, ...]  # one tensor a field of the sample, each (samples, ...)


class Loader(ABC):
    """Reads what a sampler orders."""

    def __init__(self, sampler: RankSampler) -> None:
        self._sampler = sampler
        self._taken = 0

    def enter_epoch(self) -> None:
        """Follows the sampler into the plan's epoch, from the plan's cursor."""
        self._sampler.enter_epoch()
        self._taken = 0

    def take(self, n_samples: int) -> tuple[Columns, torch.Tensor]:
        """The next samples, and their dataset indices, shape (n_samples,).

        Raises:
            IndexError: the epoch has fewer left.
        """
        indices = self._sampler.indices[self._taken : self._taken + n_samples]
        if len(indices) < n_samples:
            raise IndexError(f"{n_samples} samples wanted, {len(indices)} left in this epoch")
        self._taken += n_samples
        return self._read(indices), indices

    @abstractmethod
    def _read(self, indices: torch.Tensor) -> Columns:
        """The samples of these indices, which continue those read before."""


class MemoryLoader(Loader):
    """Samples that lie in memory as whole tensors: a micro-batch is one indexing operation."""

    def __init__(self, tensors: Columns, sampler: RankSampler) -> None:
        super().__init__(sampler)
        self._tensors = tensors

    def _read(self, indices: torch.Tensor) -> Columns:
        return tuple(tensor[indices] for tensor in self._tensors)


class WorkerLoader(Loader):
    """Samples of any map-style dataset, read ahead in chunks by worker processes that live as long as the loader."""

    def __init__(self, dataset: Dataset[Any], sampler: RankSampler, *, chunk: int, workers: int) -> None:
        super().__init__(sampler)
        self._chunks = DataLoader(
            dataset,
            batch_size=chunk,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # else each epoch draws from the generator that dropout draws from
        )
        self._arrived: list[Columns] = []
        self._arrivals: Iterator[Any] = iter(())

    def enter_epoch(self) -> None:
        super().enter_epoch()
        self._arrived = []
        self._arrivals = iter(self._chunks)

    def _read(self, indices: torch.Tensor) -> Columns:
        missing = len(indices) - sum(len(columns[0]) for columns in self._arrived)
        while missing > 0:
            self._arrived.append(tuple(next(self._arrivals)))
            missing -= len(self._arrived[-1][0])
        columns = tuple(torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*self._arrived, strict=True))
        self._arrived = [tuple(column[len(indices) :] for column in columns)] if missing < 0 else []
        return tuple(column[: len(indices)] for column in columns)


def open_loader(dataset: Dataset[Any], sampler: RankSampler, *, chunk: int, workers: int) -> Loader:
    """The loader that suits the dataset: whole tensors are indexed, everything else is read sample by sample."""
    if isinstance(dataset, TensorDataset):
        return MemoryLoader(dataset.tensors, sampler)
    return WorkerLoader(dataset, sampler, chunk=chunk, workers=workers)
