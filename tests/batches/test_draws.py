"""Draws with replacement: as often as the weights say, the same on all ranks, for any batches and restarts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset, WeightedRandomSampler

import hpc_adabatch as hab
from hpc_adabatch.batches.draws import Draws
from hpc_adabatch.batches.keys import sample_keys
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.training.feed import Feed

WEIGHTS = [0.5, 4.0, 1.0, 1.5, 3.0]


def numbered(n_samples: int) -> TensorDataset:
    return TensorDataset(torch.arange(n_samples))


def chi_square(counts: np.ndarray) -> float:
    """Of counts against the weights; 4 degrees of freedom: below 18.5 in 999 of 1,000 cases."""
    expected = counts.sum() * np.array(WEIGHTS) / sum(WEIGHTS)
    return float(((counts - expected) ** 2 / expected).sum())


def test_samples_come_as_often_as_torchs_weighted_sampler_draws_them() -> None:
    drawn = np.bincount(np.concatenate([Draws(WEIGHTS, 5, 5000, seed=3).of(epoch) for epoch in range(4)]))
    torchs = list(WeightedRandomSampler(WEIGHTS, 20_000, generator=torch.Generator().manual_seed(0)))
    assert chi_square(drawn) < 18.5
    assert chi_square(np.bincount(torchs)) < 18.5
    even = np.bincount(torch.randint(5, (20_000,), generator=torch.Generator().manual_seed(0)).numpy())
    assert chi_square(even) > 1000  # the measure tells them apart


def test_a_draw_does_not_depend_on_the_one_before() -> None:
    drawn = Draws(WEIGHTS, 5, 20_000, seed=0).of(0)
    after_four = np.bincount(drawn[1:][drawn[:-1] == 4], minlength=5)
    assert chi_square(after_four) < 18.5


def test_epochs_and_seeds_have_draws_of_their_own_whatever_the_scale() -> None:
    drawn = {tuple(Draws(WEIGHTS, 5, 30, seed).of(epoch)) for seed in range(3) for epoch in range(3)}
    assert len(drawn) == 9
    scaled = Draws(torch.tensor(WEIGHTS) * 8, 5, 30, 0).of(0)  # a power of two: no rounding
    assert scaled.tolist() == Draws(np.array(WEIGHTS), 5, 30, 0).of(0).tolist()
    assert Draws([1e-300, 1e300], 2, 100, 0).of(0).tolist() == [1] * 100


@pytest.mark.parametrize("per_epoch", [None, 23])
def test_ranks_batches_and_restarts_share_out_one_row_of_draws(per_epoch: int | None) -> None:
    """Against the row itself: position p belongs to rank p mod R, from whatever cursor an epoch is entered."""
    n_samples = 50
    weights = [1 + index % 4 for index in range(n_samples)]
    batches = hab.AdaptiveBatches(numbered(n_samples), 7, seed=2, weights=weights, samples_per_epoch=per_epoch)
    seen: list[int] = []
    sizes, n_ranks = [7, 3, 11, 5], 1
    while not batches.plan.epoch_finished:
        n_ranks = n_ranks % 3 + 1  # each step is a restart on another number of ranks
        again = hab.AdaptiveBatches(numbered(n_samples), 7, seed=2, weights=weights, samples_per_epoch=per_epoch)
        again.plan.load_state_dict(batches.plan.state_dict())
        batch, own = again.plan.cut(sizes[len(seen) % 4]), {}
        for rank in range(n_ranks):
            loader = again.loader(rank, n_ranks)
            loader.enter_epoch()
            positions = batch.share(rank, n_ranks)
            (samples,), numbers = loader.take(len(positions))
            assert numbers.tolist() == list(positions)
            own |= dict(zip(positions, samples.tolist(), strict=True))
        seen += [own[position] for position in sorted(own)]
        again.plan.advance(batch)
        batches = again
    assert seen == Draws(weights, n_samples, per_epoch or n_samples, seed=2).of(0).tolist()
    assert len(set(seen)) < len(seen)


def test_a_sample_that_is_drawn_twice_is_augmented_twice() -> None:
    keys: list[int] = []

    def watch(inputs: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
        keys.extend(found.tolist())
        return inputs

    batches = hab.AdaptiveBatches(numbered(4), 4, seed=1, weights=[1, 1, 1, 1000], transform=watch)
    feed = Feed(batches, SingleProcess(), keeps=False)
    feed.enter_epoch()
    feed.take(4)
    assert keys == sample_keys(1, 0, torch.arange(4)).tolist()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0] * 4, r"given 4 weights; allowed: a positive number for each of the 5 samples"),
        ([[1.0] * 5], r"given weights of shape \(1, 5\)"),
        ([1, 2, 0, 1, 1], r"given 0 for sample 2;.*type a Subset of the dataset"),
        ([1, 2, 3, 1, -0.5], r"given -0.5 for sample 4"),
        ([math.nan, 2, 3, 1, 1], r"given nan for sample 0"),
        ([1, math.inf, 3, 1, 1], r"given inf for sample 1"),
        ([1e308] * 5, r"given numbers whose sum overflows"),
        (["a"] * 5, r"given list: \['a', 'a'"),
        (3, r"given weights of shape \(\)"),
        (WeightedRandomSampler(WEIGHTS, 5), r"given WeightedRandomSampler"),
    ],
)
def test_weights_that_cannot_be_drawn_from(weights: Any, said: str) -> None:
    with pytest.raises(hab.InputError, match=f"^weights: {said}"):
        hab.AdaptiveBatches(numbered(5), 2, weights=weights)


@pytest.mark.long
def test_the_noise_is_that_of_independent_draws() -> None:
    """Sample i has the gradient a_i: with weights w the true one is sum w_i a_i / sum w, for a batch of N draws too."""
    gradients, weights = torch.tensor([1.0, -2.0, 4.0, 0.5]).double(), torch.tensor([1.0, 2.0, 3.0, 2.0]).double()
    model = torch.nn.Linear(1, 1, bias=False).double()
    training = hab.AdaptiveTraining(
        model,
        torch.optim.SGD(model.parameters(), lr=0.0),
        hab.AdaptiveBatches(TensorDataset(gradients[:, None]), 4, max_micro_batch=1, weights=weights),
        cluster=SingleProcess(),
        policy=hab.NoiseScale(),
        options=hab.LoopOptions(measure_every=1),
    )
    found = []
    for epoch in range(200):
        for step in training.epoch(epoch):
            for (a,) in step:
                step.backward(model(a).mean())
            step.update()
        assert training.measuring.last is not None
        found.append((training.measuring.last.signal, training.measuring.last.variance))
    parts = weights / weights.sum()
    mean = (parts * gradients).sum()
    variance = (parts * (gradients - mean) ** 2).sum()
    for estimates, truth in zip(zip(*found, strict=True), (mean**2, variance), strict=True):
        error = float(np.mean(estimates) - truth)
        assert abs(error) < 4 * float(np.std(estimates)) / math.sqrt(len(found))
