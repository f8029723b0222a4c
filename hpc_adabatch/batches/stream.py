"""A stream's samples, shared out as those of any dataset: position p of an epoch belongs to rank p mod R (plan.py).

    stream, begun anew each epoch     0  1  2  3  4  5  6  7  8  9 10 11 12 ...
    rank 0 of 2, from cursor 3 on                 4     6     8    10    12
    its two workers                               0     1     0     1     0

Whoever reads passes over the samples of others: a stream alone knows its next one. One with ``strided`` begins where it
is told, and makes no sample in vain:

    class Lines(IterableDataset):
        def __iter__(self):
            return self.strided(0, 1)

        def strided(self, start, step):          # samples start, start + step, start + 2 step, ...
            for line in islice(open(path), start, None, step):
                yield tokens(line)

        def set_epoch(self, epoch):              # told before an epoch is begun, where there is one
            ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import accumulate, chain, islice, pairwise
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from ..errors import InputError, require
from .sampler import RankPositions
from .samples import cut, each_column, join, length
from .workers import Chunks

Stream = IterableDataset[Any]


class StreamChunks:
    """A rank's samples of a stream, a chunk at a time: each pass over them is the plan's epoch, from the cursor on.

    Args:
        stream: The stream, whole, and the same on every rank.
        sampler: The positions of the rank.
        chunk: The samples that a worker reads at a time.
        workers: The number of worker processes, which begin anew with each epoch; with 0 this process reads.
        apart: True for chunks that are lists of samples; False for columns (samples.py).
    """

    def __init__(self, stream: Stream, sampler: RankPositions, *, chunk: int, workers: int, apart: bool) -> None:
        self._stream, self._sampler = stream, sampler
        self._how: dict[str, Any] = {"chunk": chunk, "workers": workers, "apart": apart}
        self._reading: Iterator[Any] = iter(())
        self._missing = 0  # samples of the epoch in hand
        self._goes_on = False

    def __iter__(self) -> Iterator[Any]:
        """Begins an epoch, and passes over what is before the cursor.

        Raises:
            InputError: The stream ends before the first sample; or it went on after the epoch before, and would begin
                every one with the same samples.
        """
        self._check_end()
        self._missing, self._goes_on = len(self._sampler.positions), False
        chunks = Chunks(RankStream(self._stream, self._sampler), **self._how)
        self._reading = self._counted(in_turn(iter(chunks), self._how["workers"]))
        return chain(list(islice(self._reading, 1)), self._reading)

    def _counted(self, chunks: Iterator[Any]) -> Iterator[Any]:
        """Yields the samples of the epoch, and notes whether there are more."""
        positions = self._sampler.positions
        for columns in chunks:
            own = min(length(columns), self._missing)
            self._goes_on = self._goes_on or own < length(columns)
            self._missing -= own
            if own:
                yield cut(columns, None, own)
        if self._missing:
            given = f"{positions.stop}, and the stream has no sample {positions[-self._missing]} (the first one is 0)"
            raise InputError("samples_per_epoch", given, "the samples of the stream, or fewer")

    def _check_end(self) -> None:
        if not self._missing:  # else the epoch was left, for a state that was loaded
            for _ in self._reading:
                pass
        given = f"{self._sampler.positions.stop}, after which the stream goes on"
        allowed = "all samples of the stream; or a stream with set_epoch(epoch), as each epoch begins it anew"
        require(not self._goes_on or hasattr(self._stream, "set_epoch"), "samples_per_epoch", given, allowed)


class RankStream(IterableDataset[Any]):
    """A rank's samples of a stream in one epoch, and one more if there is one; a worker has those of its turns.

    Args:
        stream: The stream.
        sampler: The positions of the rank.
    """

    def __init__(self, stream: Stream, sampler: RankPositions) -> None:
        self._stream, self._epoch, self._positions = stream, sampler.epoch, sampler.positions

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        own = self._positions if worker is None else self._positions[worker.id :: worker.num_workers]
        if hasattr(self._stream, "set_epoch"):
            self._stream.set_epoch(self._epoch)
        if hasattr(self._stream, "strided"):
            samples: Iterable[Any] = self._stream.strided(own.start, own.step)
        else:
            samples = islice(self._stream, own.start, None, own.step)
        return islice(samples, len(own) + 1)


def in_turn(chunks: Iterator[Any], workers: int) -> Iterator[Any]:
    """Yields the samples of chunks that come from each worker in turn, so that each sample does.

    Only the last round may have chunks of unequal length.
    """
    while some := list(islice(chunks, max(1, workers))):
        ends = list(accumulate(map(length, some), initial=0))
        rounds = range(max(map(length, some)))
        order = [begin + turn for turn in rounds for begin, end in pairwise(ends) if begin + turn < end]
        yield join(some) if len(some) == 1 else each_column(partial(_ordered, order), join(some))


def _ordered(order: list[int], column: Any) -> Any:
    return column[order] if isinstance(column, torch.Tensor) else [column[place] for place in order]
