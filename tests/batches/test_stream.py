"""Position p of an epoch is the stream's sample p, on rank p mod R: for any batches, ranks, workers and restarts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import IterableDataset

import hpc_adabatch as hab
from hpc_adabatch.batches.keys import sample_keys
from hpc_adabatch.batches.stream import in_turn
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.training.feed import Feed


class Numbers(IterableDataset[tuple[int, str]]):
    """Sample i of epoch e: 1000 e + i as a number and as text."""

    def __init__(self, length: int) -> None:
        self.length, self.epoch, self.made = length, 0, 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return self.from_place(0, 1)

    def from_place(self, start: int, step: int) -> Iterator[tuple[int, str]]:
        for place in range(start, self.length, step):
            self.made += 1
            yield 1000 * self.epoch + place, str(1000 * self.epoch + place)


class Told(Numbers):
    """The same, told the epoch."""

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


class Strided(Told):
    """The same, which begins where it is told."""

    def strided(self, start: int, step: int) -> Iterator[tuple[int, str]]:
        return self.from_place(start, step)


def together(samples: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return samples


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(0, 9),
    st.lists(st.tuples(st.integers(1, 20), st.sampled_from([None, None, 1, 2, 3])), min_size=1, max_size=8),
    st.integers(1, 9),
    st.sampled_from([Told, Strided]),
    st.booleans(),
)
def test_each_sample_once_in_the_order_of_the_stream(
    per_epoch: int, more: int, steps: list[tuple[int, int | None]], micro: int, kind: type[Told], apart: bool
) -> None:
    def begun(n_ranks: int, state: dict[str, int] | None) -> tuple[hab.AdaptiveBatches, list[Any]]:
        stream = kind(per_epoch + more)
        batches = hab.AdaptiveBatches(
            stream, 1, max_micro_batch=micro, samples_per_epoch=per_epoch, collate=together if apart else None
        )
        if state is not None:
            batches.plan.load_state_dict(state)
        n_ranks = min(n_ranks, per_epoch)
        loaders = [batches.loader(rank, n_ranks) for rank in range(n_ranks)]
        for loader in loaders:
            loader.enter_epoch()
        return batches, loaders

    batches, loaders = begun(2, None)
    for epoch in range(2):
        while not batches.plan.epoch_finished:
            (size, restart), *rest = steps
            steps = [*rest, steps[0]]
            if restart is not None:
                batches, loaders = begun(restart, batches.plan.state_dict())
            batch = batches.plan.cut(size)
            for rank, loader in enumerate(loaders):
                expected = [1000 * epoch + p for p in range(batch.start, batch.stop) if p % len(loaders) == rank]
                found, numbers = loader.take(len(expected)) if expected else ([], torch.zeros(0))
                if apart or not expected:
                    assert found == [(value, str(value)) for value in expected]
                else:
                    assert (found[0].tolist(), found[1]) == (expected, [str(value) for value in expected])
                assert numbers.tolist() == [value - 1000 * epoch for value in expected]
            batches.plan.advance(batch)
        batches.plan.next_epoch()
        for loader in loaders:
            loader.enter_epoch()


@given(st.integers(0, 60), st.integers(1, 5), st.integers(1, 7))
def test_the_samples_of_workers_are_woven_together(n_samples: int, workers: int, chunk: int) -> None:
    """Workers have samples w, w + W, ...; chunks arrive in rounds, without workers that have no more."""
    shares = [list(range(n_samples))[worker::workers] for worker in range(workers)]
    rounds = range(0, n_samples + 1, chunk)
    chunks = [part for start in rounds for own in shares if (part := own[start : start + chunk])]
    assert [sample for some in in_turn(iter(chunks), workers) for sample in some] == list(range(n_samples))
    columns = ((torch.tensor(part), [str(i) for i in part]) for part in chunks)
    woven = list(in_turn(columns, workers))
    assert [value for numbers, _ in woven for value in numbers.tolist()] == list(range(n_samples))
    assert [text for _, texts in woven for text in texts] == [str(i) for i in range(n_samples)]


@pytest.mark.long
@pytest.mark.parametrize(("kind", "workers"), [(Told, 1), (Strided, 2)])
@pytest.mark.parametrize("apart", [False, True])
def test_workers_read_a_stream_ahead(kind: type[Told], workers: int, apart: bool) -> None:
    batches = hab.AdaptiveBatches(
        kind(50), 4, workers=workers, samples_per_epoch=47, collate=together if apart else None
    )
    batches.plan.load_state_dict({"n_samples": 47, "seed": 0, "epoch": 1, "cursor": 6})  # resumed
    loader = batches.loader(1, 2)
    for epoch, own in ((1, range(7, 47, 2)), (2, range(1, 47, 2))):
        loader.enter_epoch()
        values: list[int] = []
        for size in cycle((1, 9, 3, 7)):
            if len(values) == len(own):
                break
            found, _ = loader.take(min(size, len(own) - len(values)))
            values += [number for number, _ in found] if apart else found[0].tolist()
        assert values == [1000 * epoch + position for position in own]
        batches.plan.load_state_dict({"n_samples": 47, "seed": 0, "epoch": epoch + 1, "cursor": 0})


def test_a_strided_stream_makes_no_sample_of_other_ranks_or_before_the_cursor() -> None:
    stream, whole = Strided(1000), Told(1000)
    for data, most in ((stream, 26), (whole, 1000)):
        batches = hab.AdaptiveBatches(data, 8, samples_per_epoch=1000)
        batches.plan.load_state_dict({"n_samples": 1000, "seed": 0, "epoch": 0, "cursor": 900})
        loader = batches.loader(3, 4)
        loader.enter_epoch()
        loader.take(25)
        assert data.made <= most
    assert whole.made > 990


def test_keys_belong_to_positions() -> None:
    keys: list[int] = []

    def watch(samples: Any, found: torch.Tensor) -> Any:
        keys.extend(found.tolist())
        return samples

    batches = hab.AdaptiveBatches(Numbers(9), 4, seed=3, samples_per_epoch=9, transform=watch)
    feed = Feed(batches, SingleProcess(), keeps=False)
    feed.enter_epoch()
    feed.take(5)
    assert keys == sample_keys(3, 0, torch.arange(5)).tolist()


def train(batches: hab.AdaptiveBatches, epochs: int) -> None:
    model = torch.nn.Linear(1, 1)
    training = hab.AdaptiveTraining(
        model, torch.optim.SGD(model.parameters(), lr=0.0), batches, cluster=SingleProcess()
    )
    for epoch in range(epochs):
        for step in training.epoch(epoch):
            for numbers, _ in step:
                step.backward(model(numbers[:, None].float()).mean())
            step.update()


@pytest.mark.parametrize("kind", [Numbers, Strided])
def test_a_stream_that_ends_early_is_one_line(kind: type[Numbers]) -> None:
    batches = hab.AdaptiveBatches(kind(17), 4, samples_per_epoch=20)
    said = r"^samples_per_epoch: given 20, and the stream has no sample 17 \(the first one is 0\); allowed: the samples"
    with pytest.raises(hab.InputError, match=said):
        train(batches, 1)
    resumed = hab.AdaptiveBatches(kind(17), 4, samples_per_epoch=20)
    resumed.plan.load_state_dict({"n_samples": 20, "seed": 0, "epoch": 0, "cursor": 19})
    with pytest.raises(hab.InputError, match="no sample 19"):
        train(resumed, 1)


def test_a_stream_that_goes_on_must_be_told_the_epoch() -> None:
    """Else every epoch has the same samples, and the others are never trained on."""
    said = r"^samples_per_epoch: given 20, after which the stream goes on; allowed: .* set_epoch\(epoch\)"
    with pytest.raises(hab.InputError, match=said):
        train(hab.AdaptiveBatches(Numbers(21), 4, samples_per_epoch=20), 2)
    train(hab.AdaptiveBatches(Numbers(21), 4, samples_per_epoch=20), 1)  # a single epoch of an endless one
    train(hab.AdaptiveBatches(Numbers(20), 4, samples_per_epoch=20), 2)
    train(hab.AdaptiveBatches(Told(21), 4, samples_per_epoch=20), 2)


def test_an_epoch_that_is_left_early_says_nothing_of_the_streams_end() -> None:
    batches = hab.AdaptiveBatches(Numbers(10**9), 4, samples_per_epoch=10**9)
    loader = batches.loader(0, 1)
    for _ in range(2):
        loader.enter_epoch()
        assert loader.take(3)[0][0].tolist() == [0, 1, 2]
    assert batches.dataset.made < 20  # type: ignore[attr-defined]
