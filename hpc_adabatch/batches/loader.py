"""A rank's samples in order, any number at a time.

Batch decisions never reach the workers: they read chunks of one fixed size in the order of the sampler, and a
micro-batch is cut from the chunks that have arrived.

    workers   [ chunk ][ chunk ][ chunk ][ chunk ]  ...read ahead
    taken     [ 24 ][ 24 ][    48    ][    48    ]  ...as the batch is now

So the batch may change at every step, with any number of workers, and no loader is ever restarted. A user's function
that collates is called with the samples of a micro-batch, after it was cut: until then samples stay apart.

What was taken since a mark can be taken again, cut otherwise: where passes were too large for the memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from .sampler import RankPositions, RankSampler
from .samples import cut, join, length
from .seeded import KeyedSampler, SeededDataset
from .stream import Stream, StreamChunks
from .workers import Chunks

Columns = (
    Any  # as samples.py has them: a tensor (samples, ...) or a list for each value of a sample, in a sample's form
)
Collate = Callable[[list[Any]], Any]  # some samples -> a micro-batch of any form
LOOKED_AT = 64  # samples that stand for all, where only their form and size matter


class Loader(ABC):
    """A reader of a rank's samples, in the order of its sampler.

    Args:
        sampler: The order of the samples.
    """

    def __init__(self, sampler: RankPositions) -> None:
        self._sampler = sampler
        self._taken = 0
        self._marked: int | None = None

    def enter_epoch(self) -> None:
        """Begins to read the plan's present epoch, from the plan's cursor on."""
        self._sampler.enter_epoch()
        self._taken, self._marked = 0, None

    @property
    def left(self) -> int:
        """Returns the samples of the rank that are left in this epoch."""
        return len(self._sampler.positions) - self._taken

    def mark(self) -> None:
        """Keeps what is taken from here on, until the next mark."""
        self._marked = self._taken

    def go_back(self) -> None:
        """Goes back to the mark: the samples taken since come again."""
        assert self._marked is not None
        self._taken = self._marked

    def take(self, n_samples: int) -> tuple[Columns, torch.Tensor]:
        """Returns the next samples, and the numbers of which their keys are made, shape (n_samples,).

        Raises:
            InputError: A stream has ended before its epoch.
            IndexError: Fewer samples are left in this epoch.
        """
        start, stop = self._taken, self._taken + n_samples
        if n_samples > self.left:
            raise IndexError(f"{n_samples} samples wanted, {self.left} left in this epoch")
        samples = self._read(start, stop)
        self._taken = stop
        return self._made(samples), self._sampler.numbers(start, stop)

    def look(self, n_samples: int) -> tuple[Columns, torch.Tensor]:
        """Returns so many samples like the next ones, a few of which come again and again; the place stays."""
        some = min(n_samples, LOOKED_AT, self.left)
        start, stop = self._taken, self._taken + some
        self.mark()
        columns, numbers = self._read(start, stop), self._sampler.numbers(start, stop)
        self.go_back()
        times = -(-n_samples // some)
        return self._made(cut(join([columns] * times), None, n_samples)), numbers.repeat(times)[:n_samples]

    @abstractmethod
    def _read(self, start: int, stop: int) -> Columns:
        """Returns the rank's samples from one place in the epoch to another, which continue those read before."""

    def _made(self, columns: Columns) -> Columns:
        """Returns a micro-batch of these samples."""
        return columns


class MemoryLoader(Loader):
    """A reader of samples that are in memory as whole tensors: a micro-batch is one indexing operation.

    Args:
        tensors: One tensor a field, each (all samples, ...).
        sampler: The order of the samples.
        rows: The row of the tensors that holds each sample; None where sample i lies in row i. Shape (samples,), int64.
    """

    def __init__(
        self, tensors: tuple[torch.Tensor, ...], sampler: RankSampler, rows: torch.Tensor | None = None
    ) -> None:
        super().__init__(sampler)
        self._tensors, self._order, self._rows = tensors, sampler, rows

    def _read(self, start: int, stop: int) -> Columns:
        indices = self._order.indices[start:stop]
        rows = indices if self._rows is None else self._rows[indices]
        return tuple(tensor[rows] for tensor in self._tensors)


class WorkerLoader(Loader):
    """A reader of samples that arrive in chunks, read ahead by worker processes.

    Args:
        chunks: Passes over the chunks of an epoch, in the order of the sampler.
        sampler: The order of the samples.
        collate: Makes a micro-batch of samples that arrive in lists; they arrive in columns when not given.
    """

    def __init__(self, chunks: Iterable[Columns], sampler: RankPositions, collate: Collate | None = None) -> None:
        super().__init__(sampler)
        self._chunks, self._collate = chunks, collate
        self._arrived: list[Columns] = []  # a list of samples is one column
        self._kept: list[Columns] = []  # what was taken since the mark
        self._arrivals: Iterator[Any] = iter(())

    def enter_epoch(self) -> None:
        super().enter_epoch()
        self._arrived, self._kept = [], []
        self._arrivals = iter(self._chunks)

    def mark(self) -> None:
        super().mark()
        self._kept = []

    def go_back(self) -> None:
        super().go_back()
        self._arrived, self._kept = [*self._kept, *self._arrived], []

    def _read(self, start: int, stop: int) -> Columns:
        n_samples = stop - start
        missing = n_samples - sum(map(length, self._arrived))
        while missing > 0:
            self._arrived.append(next(self._arrivals))
            missing -= length(self._arrived[-1])
        columns = join(self._arrived)
        self._arrived = [cut(columns, n_samples, None)] if missing < 0 else []
        taken = cut(columns, None, n_samples)
        if self._marked is not None:
            self._kept.append(taken)
        return taken

    def _made(self, columns: Columns) -> Columns:
        return columns if self._collate is None else self._collate(columns)


def open_loader(
    dataset: Dataset[Any], sampler: RankSampler, *, chunk: int, workers: int, collate: Collate | None = None
) -> Loader:
    """Returns the reader for a dataset: a TensorDataset, or a part of one, is indexed; all else is read by samples.

    Args:
        dataset: The dataset.
        sampler: The order of its samples.
        chunk: The samples that a worker reads at a time.
        workers: The number of worker processes, which live as long as the reader; with 0 this process reads.
        collate: The user's function; tensors are stacked as samples.py has it when not given.
    """
    whole, rows = dataset, None
    while type(whole) is Subset:  # of torch.utils.data.random_split, too
        chosen = torch.as_tensor(whole.indices, dtype=torch.int64)
        whole, rows = whole.dataset, chosen if rows is None else chosen[rows]
    if isinstance(whole, TensorDataset) and collate is None:
        return MemoryLoader(whole.tensors, sampler, rows)
    keyed, order, apart = SeededDataset(dataset), KeyedSampler(sampler), collate is not None
    return WorkerLoader(Chunks(keyed, chunk=chunk, workers=workers, sampler=order, apart=apart), sampler, collate)


def open_stream(
    stream: Stream, positions: RankPositions, *, chunk: int, workers: int, collate: Collate | None = None
) -> Loader:
    """Returns the reader for a stream; its arguments are those of ``open_loader``."""
    chunks = StreamChunks(stream, positions, chunk=chunk, workers=workers, apart=collate is not None)
    return WorkerLoader(chunks, positions, collate)
