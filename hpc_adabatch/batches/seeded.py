"""A dataset whose own random numbers belong to the sample, as those of keys.py do.

torchvision's transforms, and most others, draw from the generators of the process that reads: torch's, Python's,
numpy's. What they drew would follow from the reader, from the samples it has read before, and from how far it reads
ahead, so that a run that goes on within an epoch would see other images. Here these generators are seeded with the
sample's key before it is read. A process that also trains gets its own generators back after each chunk.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler, Subset

from .sampler import RankSampler

Keyed = tuple[int, int]  # the index of a sample, and its key


class SeededDataset(Dataset[Any]):
    """A dataset that is read by index and key.

    Args:
        dataset: The dataset. One that reads many samples at once (``__getitems__``) draws for all of them from the key
            of the first.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset
        self._reads_many = callable(getattr(_innermost(dataset), "__getitems__", None))

    def __getitem__(self, keyed: Keyed) -> Any:
        index, key = keyed
        seed(key)
        return self._dataset[index]

    def __getitems__(self, keyed: Sequence[Keyed]) -> Sequence[Any]:
        """Returns the samples of a chunk."""
        if not self._reads_many:
            return [self[one] for one in keyed]
        seed(keyed[0][1])
        return self._dataset.__getitems__([index for index, _ in keyed])  # type: ignore[attr-defined]


class KeyedSampler(Sampler[Any]):
    """The order of a rank's samples, each with its key.

    Args:
        sampler: The order.
    """

    def __init__(self, sampler: RankSampler) -> None:
        self._sampler = sampler

    def __iter__(self) -> Iterator[Keyed]:
        return zip(self._sampler.indices.tolist(), self._sampler.keys().tolist(), strict=True)

    def __len__(self) -> int:
        return len(self._sampler)


def seed(key: int) -> None:
    """Seeds the generators that datasets draw from, but for those of GPUs."""
    torch.default_generator.manual_seed(key)
    random.seed(key % 2**63)  # Python takes -1 for 1
    np.random.seed(key % 2**32)


@contextmanager
def kept() -> Iterator[None]:
    """Gives this process its generators back as they were before the block."""
    before = torch.default_generator.get_state(), random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])


def _innermost(dataset: Dataset[Any]) -> Dataset[Any]:
    """Returns the dataset that reads: torch's Subset hands on whatever there is."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return dataset
