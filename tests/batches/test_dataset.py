"""What is no training set, or lacks a word about itself, is told in one line what to write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, TensorDataset

import hpc_adabatch as hab

DATA = TensorDataset(torch.zeros(20, 2), torch.zeros(20))


class Endless(IterableDataset[int]):
    """A stream, which says its length though it has none."""

    def __iter__(self) -> Iterator[int]:
        yield 0

    def __len__(self) -> int:
        return 20


class Unsized:
    """A map-style dataset without a length."""

    def __getitem__(self, index: int) -> int:
        return index


CASES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a loader": (
        DataLoader(DATA, 4, num_workers=2),
        {},
        r"dataset: given DataLoader; .*type AdaptiveBatches\(loader.dataset, 64, workers=2\)",
    ),
    "a loader of a stream": (DataLoader(Endless()), {}, r"dataset: .*\(loader.dataset, 64, samples_per_epoch=N\)"),
    "a sampler": (RandomSampler(DATA), {}, r"dataset: given RandomSampler; .*type AdaptiveBatches\(dataset, 64\)"),
    "a batch sampler": (BatchSampler(RandomSampler(DATA), 4, False), {}, "dataset: given BatchSampler"),
    "a generator": (
        iter([1, 2]),
        {},
        "dataset: given list_iterator; allowed: .* or an IterableDataset with samples_per",
    ),
    "no length": (Unsized(), {}, "dataset: given Unsized; allowed: a dataset that has a length"),
    "a set": ({1, 2}, {}, "dataset: given set; allowed: .*dataset.i."),
    "a stream": (Endless(), {}, "samples_per_epoch: given None; allowed: 1 or more: how many samples of the stream"),
    "a stream without samples": (Endless(), {"samples_per_epoch": 0}, "samples_per_epoch: given 0"),
    "a stream with weights": (
        Endless(),
        {"samples_per_epoch": 20, "weights": [1.0] * 20},
        "weights: given those of a stream; allowed: none",
    ),
    "a stream whose workers would make all": (
        Endless(),
        {"samples_per_epoch": 20, "workers": 2},
        r"workers: given 2; allowed: 0 or 1, or a stream with strided\(start, step\)",
    ),
    "a number of samples that come once": (
        DATA,
        {"samples_per_epoch": 10},
        "samples_per_epoch: given 10; allowed: none",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_says_what_to_write(case: str) -> None:
    dataset, options, said = CASES[case]
    with pytest.raises(hab.InputError, match=f"^{said}"):
        hab.AdaptiveBatches(dataset, 4, **options)


def test_lists_and_streams_are_training_sets() -> None:
    assert hab.AdaptiveBatches([1, 2, 3], 2).plan.n_samples == 3  # type: ignore[arg-type]
    assert hab.AdaptiveBatches(Endless(), 2, samples_per_epoch=7).plan.n_samples == 7
