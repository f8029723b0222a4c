"""A user's collate function is called with the very samples of a micro-batch, as the dataset gave them."""

from __future__ import annotations

import resource
from collections import UserDict
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence, pad_sequence
from torch.utils.data import Dataset

import hpc_adabatch as hab
from hpc_adabatch.batches.keys import sample_keys
from hpc_adabatch.batches.micro_batch import pieces
from hpc_adabatch.batches.parcel import pack, unpack
from hpc_adabatch.batches.plan import permutation, share
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.training.feed import Feed, moved

N = 40


class Sentences(Dataset[tuple[torch.Tensor, str]]):
    """Sample i: a sentence of 1 to 7 words, all of which are i, and its name."""

    def __init__(self, n_samples: int = N) -> None:
        self.n_samples = n_samples

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str]:
        return torch.full((1 + index * 5 % 7,), index), f"s{index}"


def padded(samples: list[tuple[torch.Tensor, str]]) -> tuple[torch.Tensor, list[str]]:
    return pad_sequence([words for words, _ in samples], batch_first=True, padding_value=-1), [n for _, n in samples]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 25), min_size=1, max_size=6), st.integers(1, 3), st.integers(1, 9), st.integers(0, 30))
def test_micro_batches_are_padded_to_their_own_longest(
    sizes: list[int], n_ranks: int, micro: int, resumed_at: int
) -> None:
    batches = hab.AdaptiveBatches(Sentences(), 4, max_micro_batch=micro, seed=5, collate=padded)
    batches.plan.load_state_dict({"n_samples": N, "seed": 5, "epoch": 2, "cursor": resumed_at})
    loaders = [batches.loader(rank, n_ranks) for rank in range(n_ranks)]
    for loader in loaders:
        loader.enter_epoch()
    order, data = permutation(5, 2, N), Sentences()
    while not batches.plan.epoch_finished:
        sizes = sizes[1:] + sizes[:1]
        batch = batches.plan.cut(sizes[0])
        for rank, loader in enumerate(loaders):
            own = [int(order[position]) for position in share(batch.start, batch.stop, rank, n_ranks)]
            for size in pieces(len(own), micro):
                chosen, own = own[:size], own[size:]
                (words, names), indices = loader.take(size)
                expected = [data[index][0].tolist() for index in chosen]
                width = max(map(len, expected))
                assert words.tolist() == [row + [-1] * (width - len(row)) for row in expected]
                assert names == [f"s{index}" for index in chosen]
                assert indices.tolist() == chosen
        batches.plan.advance(batch)


def test_a_transform_and_a_search_see_the_collated_samples_with_their_keys() -> None:
    def shift(words: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return words + (keys % 1000)[:, None]

    batches = hab.AdaptiveBatches(Sentences(), 8, seed=1, collate=padded, transform=shift)
    feed = Feed(batches, SingleProcess(), keeps=True)
    feed.enter_epoch()
    order = torch.from_numpy(permutation(1, 0, N))
    words, names = feed.take(6)
    expected = padded([Sentences()[int(index)] for index in order[:6]])
    assert torch.equal(words, shift(expected[0], sample_keys(1, 0, order[:6])))
    assert names == expected[1]
    ((samples, again),) = feed.again()
    assert (samples, again[1]) == (6, names)
    assert torch.equal(again[0], words)


def test_workers_send_more_tensors_than_a_process_may_open_files() -> None:
    """torch opens a file for each tensor of a list that a worker sends; where there are no more, nothing arrives."""
    batches = hab.AdaptiveBatches(Sentences(400), 200, workers=1, collate=padded)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    try:
        loader = batches.loader(0, 1)
        loader.enter_epoch()
        (words, _), indices = loader.take(400)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert torch.equal(words[:, 0], indices)


class Pair(NamedTuple):
    """A micro-batch with names."""

    words: Any
    of: Any


class Encoding(UserDict[str, torch.Tensor]):
    """As tokenizers make them: no dict, but with ``to``."""

    def to(self, device: torch.device) -> Encoding:
        return Encoding({key: value.to(device) for key, value in self.items()})


@pytest.mark.parametrize(
    "sample",
    [
        torch.arange(6).view(2, 3)[:, 1],
        torch.tensor(2.5, dtype=torch.bfloat16),
        torch.zeros(0, 3),
        torch.tensor([1 + 2j]).conj(),
        torch.ones(2, requires_grad=True),
        torch.tensor([True, False]),
    ],
)
def test_samples_arrive_as_they_were_sent(sample: torch.Tensor) -> None:
    found, text = unpack(pack([sample, "text"]))
    assert (text, found.dtype, found.requires_grad) == ("text", sample.dtype, sample.requires_grad)
    assert torch.equal(found, sample)


def test_a_row_travels_without_the_tensor_that_it_is_a_row_of() -> None:
    assert len(pack(list(torch.zeros(1000, 1000)[:3]))) < 20_000


def test_tensors_are_moved_wherever_they_are() -> None:
    x, meta = torch.ones(2), torch.device("meta")  # a device that every machine has
    form = Pair(words=[x, ("a", x)], of={"lengths": [2], "packed": pack_sequence([x]), "encoding": Encoding(ids=x)})
    found = moved(form, meta)
    assert type(found) is Pair
    assert (found.words[1][0], found.of["lengths"]) == ("a", [2])
    tensors = [found.words[0], found.words[1][1], found.of["packed"].data, found.of["encoding"]["ids"]]
    assert all(tensor.device == meta for tensor in tensors)
    assert isinstance(found.words, list)
