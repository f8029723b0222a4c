"""A loader gives the samples that the sampler orders, any number at a time, and never restarts its workers."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset, Subset, TensorDataset

from hpc_adabatch.batches import BatchPlan
from hpc_adabatch.batches.loader import Loader, MemoryLoader, WorkerLoader, open_loader
from hpc_adabatch.batches.sampler import RankSampler

TAKES = st.lists(st.integers(1, 30), min_size=1, max_size=10)


class Squares(Dataset[tuple[torch.Tensor, int, int]]):
    """Sample i: i as two pixels, i squared, and the process that read it."""

    def __init__(self, n_samples: int) -> None:
        self.n_samples = n_samples

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        return torch.full((2,), float(index)), index * index, os.getpid()


def in_memory(n_samples: int) -> tuple[torch.Tensor, ...]:
    """The same samples as whole tensors."""
    numbers = torch.arange(n_samples)
    return numbers[:, None].expand(-1, 2).float(), numbers**2, torch.full((n_samples,), os.getpid())


def read(loader: Loader, sizes: Sequence[int], n_samples: int) -> tuple[list[int], set[int]]:
    """Takes so many samples in portions of these sizes, over and over: their indices, and the processes' ids."""
    taken: list[int] = []
    readers: set[int] = set()
    for size in cycle(sizes):
        wanted = min(size, n_samples - len(taken))
        if wanted == 0:
            return taken, readers
        (inputs, squares, process_ids), indices = loader.take(wanted)
        assert inputs.shape == (wanted, 2)
        assert torch.equal(inputs, indices[:, None].expand(-1, 2).float())
        assert torch.equal(squares, indices**2)
        taken += indices.tolist()
        readers |= set(process_ids.tolist())
    raise AssertionError("cycle ends only without sizes")


@settings(max_examples=60)
@given(st.data(), st.booleans(), st.integers(1, 60), st.integers(1, 4), st.integers(1, 17), TAKES)
def test_any_portions_give_the_order_of_the_sampler(
    data: st.DataObject, whole: bool, n_samples: int, n_ranks: int, chunk: int, sizes: list[int]
) -> None:
    plan = BatchPlan(n_samples, seed=1)
    sampler = RankSampler(plan, data.draw(st.integers(0, n_ranks - 1)), n_ranks)
    loader: Loader = (
        MemoryLoader(in_memory(n_samples), sampler)
        if whole
        else open_loader(Squares(n_samples), sampler, chunk=chunk, workers=0)
    )
    for _ in range(2):
        if entered := data.draw(st.integers(0, n_samples - 1)):
            plan.advance(plan.cut(entered))
        loader.enter_epoch()
        order = list(sampler)
        assert read(loader, sizes, len(order))[0] == order
        with pytest.raises(IndexError, match="0 left"):
            loader.take(1)
        plan.advance(plan.cut(n_samples))
        plan.next_epoch()


def test_workers_live_through_batch_changes_epochs_and_epochs_left_early() -> None:
    plan = BatchPlan(90, seed=1)
    sampler = RankSampler(plan, 1, 2)
    loader = open_loader(Squares(90), sampler, chunk=4, workers=2)
    processes = set()
    for sizes, n_samples in (([3, 1, 14], 45), ([2], 10), ([7, 30], 45)):  # of the second epoch 35 are left unread
        loader.enter_epoch()
        taken, readers = read(loader, sizes, n_samples)
        assert taken == list(sampler)[:n_samples]
        processes |= readers
        plan.advance(plan.cut(90))
        plan.next_epoch()
    assert len(processes) == 2
    assert os.getpid() not in processes


@pytest.mark.parametrize("whole", [True, False])
def test_a_take_beyond_the_end_raises_and_takes_nothing(whole: bool) -> None:
    plan = BatchPlan(10, seed=0)
    dataset: Dataset[tuple[torch.Tensor, ...]] = TensorDataset(*in_memory(10)) if whole else Squares(10)  # type: ignore[assignment]
    loader = open_loader(dataset, RankSampler(plan, 0, 1), chunk=4, workers=0)
    with pytest.raises(IndexError, match="1 samples wanted, 0 left"):
        loader.take(1)  # no epoch was entered
    loader.enter_epoch()
    before = loader.take(6)[1]
    with pytest.raises(IndexError, match="5 samples wanted, 4 left"):
        loader.take(5)
    assert sorted(torch.cat([before, loader.take(4)[1]]).tolist()) == list(range(10))


def test_whole_tensors_are_indexed_and_everything_else_is_read() -> None:
    sampler = RankSampler(BatchPlan(10, 0), 0, 1)
    assert isinstance(open_loader(TensorDataset(*in_memory(10)), sampler, chunk=4, workers=0), MemoryLoader)
    assert isinstance(open_loader(Squares(10), sampler, chunk=4, workers=0), WorkerLoader)
    part = Subset(Subset(TensorDataset(*in_memory(30)), range(29, 9, -1)), range(0, 20, 2))  # 29, 27, ...
    loader = open_loader(part, sampler, chunk=4, workers=0)
    assert isinstance(loader, MemoryLoader)
    loader.enter_epoch()
    (_, squares, _), indices = loader.take(10)
    assert torch.equal(squares, (29 - 2 * indices) ** 2)


class Noisy(Dataset[torch.Tensor]):
    """Sample i: i, and what torch, Python and numpy draw, as transforms of images do."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> torch.Tensor:
        drawn = [torch.rand(()).item(), random.random(), float(np.random.random())]
        return torch.tensor([float(index), *drawn], dtype=torch.float64)


class NoisyChunks(Noisy):
    """The same, many at once."""

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [self[index] for index in indices]


def drawn(n_ranks: int, chunk: int, workers: int, epoch: int = 0, cursor: int = 0) -> dict[int, list[float]]:
    """What the samples of an epoch have drawn, from a cursor on, whichever rank has read them."""
    found: dict[int, list[float]] = {}
    for rank in range(n_ranks):
        plan = BatchPlan(24, seed=3)
        plan.epoch, plan.cursor = epoch, cursor
        loader = open_loader(Noisy(), RankSampler(plan, rank, n_ranks), chunk=chunk, workers=workers)
        loader.enter_epoch()
        while len(loader._sampler.indices) > loader._taken:
            columns, _ = loader.take(1)
            found |= {int(row[0]): row[1:].tolist() for row in columns}
    return found


def test_what_a_dataset_draws_belongs_to_the_sample() -> None:
    """Bug story: a run that went on within an epoch, or on other ranks, augmented its images otherwise."""
    expected = drawn(1, 24, 0)
    assert len({value for values in expected.values() for value in values}) == 72
    for n_ranks, chunk, workers in ((1, 5, 0), (3, 2, 0), (1, 7, 1)):
        assert drawn(n_ranks, chunk, workers) == expected
    rest = drawn(2, 4, 0, cursor=10)
    assert rest == {index: expected[index] for index in rest}
    assert len(rest) == 14
    later = drawn(1, 24, 0, epoch=1)
    assert not any(later[index] == expected[index] for index in expected)


@pytest.mark.parametrize("dataset", [Noisy(), NoisyChunks()])
def test_reading_leaves_the_generators_of_the_rank_alone(dataset: Noisy) -> None:
    """Dropout would draw otherwise where the batch, and so the time of reading, is another one."""
    loader = open_loader(dataset, RankSampler(BatchPlan(24, 0), 0, 1), chunk=4, workers=0)
    loader.enter_epoch()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = torch.rand(()).item(), random.random(), np.random.random()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    columns, indices = loader.take(6)
    assert torch.equal(columns[:, 0], indices.double())
    assert (torch.rand(()).item(), random.random(), np.random.random()) == expected


def test_entering_an_epoch_leaves_the_generator_of_dropout_alone() -> None:
    """Bug story: a run resumed inside an epoch entered it once more than the run that was never stopped, so its
    dropout masks differed from there on."""
    loader = open_loader(Squares(10), RankSampler(BatchPlan(10, 0), 0, 1), chunk=4, workers=0)
    before = torch.get_rng_state()
    loader.enter_epoch()
    loader.take(10)
    assert torch.equal(torch.get_rng_state(), before)
