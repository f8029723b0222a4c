"""Processes that read samples ahead for a rank, and that the rank alone ends.

A stop is often sent to every process of a job (scancel, preemption, mpirun), and a rank that loses a worker can neither
take its last step nor save. So workers are born with these signals blocked, and a thread of each takes them instead:

    SIGTERM from the rank   the loader is closed, and the worker has not ended by itself: it ends
    any other of them       nothing: the rank hears it too, and decides
    the rank is gone        it ends, within a second, whatever it is reading

An error that one line tells arrives in the place of its chunk, because torch hands on no more than an error's text.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from ..errors import OneLineError
from .parcel import pack, unpack
from .samples import collate
from .seeded import kept

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
LOOK_EVERY_S = 1.0


class Chunks:
    """Samples of a dataset, read a chunk at a time by worker processes.

    Args:
        dataset: The dataset.
        chunk: The samples that a worker reads at a time.
        workers: The number of worker processes; with 0 this process reads.
        sampler: The order of the samples; that of the dataset when not given. With one, the workers are kept from one
            pass to the next.
        apart: True for chunks that are lists of samples; False for columns (samples.py).
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        chunk: int,
        workers: int,
        sampler: Sampler[Any] | None = None,
        apart: bool = False,
    ) -> None:
        self._travel = apart and workers > 0
        self._loader = DataLoader(
            dataset if isinstance(dataset, IterableDataset) else _Told(dataset),
            batch_size=chunk,
            sampler=sampler,
            num_workers=workers,
            collate_fn=partial(_collated, by=pack if self._travel else list if apart else collate),
            persistent_workers=workers > 0 and sampler is not None,
            worker_init_fn=_hear_the_rank_alone,
            generator=torch.Generator(),  # else each pass draws from the generator that dropout draws from
        )

    def __iter__(self) -> Iterator[Any]:
        """Begins a pass; the chunks arrive in order.

        Raises:
            OneLineError: The dataset raised it, in whichever process; where its chunk is due.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # a new process inherits what is blocked
        try:
            chunks: Iterator[Any] = iter(self._loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if not (self._loader.num_workers or isinstance(self._loader.dataset, IterableDataset)):
            chunks = _aside(chunks)
        return map(unpack, map(_raised, chunks)) if self._travel else map(_raised, chunks)


def _aside(chunks: Iterator[Any]) -> Iterator[Any]:
    """Yields the chunks that this process reads, whose samples leave its generators alone."""
    while True:
        with kept():
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


class _Told(Dataset[Any]):
    """A dataset that returns, in the place of all samples asked for, the one-line error that one of them raised."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        many = getattr(self._dataset, "__getitems__", None)
        try:
            return many(indices) if many is not None else [self._dataset[index] for index in indices]
        except OneLineError as error:
            return [error]


def _collated(samples: list[Any], *, by: Callable[[list[Any]], Any]) -> Any:
    return samples[0] if isinstance(samples[0], OneLineError) else by(samples)


def _raised(chunk: Any) -> Any:
    if isinstance(chunk, OneLineError):
        raise chunk
    return chunk


def _hear_the_rank_alone(worker: int) -> None:  # noqa: ARG001 (torch gives its number)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(rank: int) -> None:
    """Ends this process when the rank, its parent, asks for it or is gone."""
    while os.getppid() == rank:
        heard = signal.sigtimedwait(STOPS, LOOK_EVERY_S)
        if heard is not None and heard.si_signo == signal.SIGTERM and heard.si_pid == rank:
            break
    os._exit(0)
