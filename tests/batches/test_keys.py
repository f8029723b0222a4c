"""Draws belong to (seed, epoch, sample) and to nothing else, and they are as good as random."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hpc_adabatch.batches.keys import sample_keys, uniform

INDICES = torch.arange(100_000)


def splitmix64(seed: int, epoch: int, index: int) -> int:
    """One key in Python's integers."""
    z = (seed * 0xD1342543DE82EF95 + epoch * 0xDA942042E4DD58B5 + index * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    z ^= z >> 31
    return z - 2**64 if z >= 2**63 else z


@given(st.integers(0, 2**70), st.integers(0, 10_000), st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_keys_equal_those_of_a_reference_in_python_integers(seed: int, epoch: int, indices: list[int]) -> None:
    keys = sample_keys(seed, epoch, torch.tensor(indices))
    assert keys.tolist() == [splitmix64(seed, epoch, index) for index in indices]


@given(st.permutations(range(30)), st.integers(0, 30))
def test_keys_and_draws_do_not_depend_on_the_grouping(order: list[int], cut: int) -> None:
    together, shuffled = sample_keys(7, 3, torch.arange(30)), torch.tensor(order)
    grouped = torch.cat([sample_keys(7, 3, part) for part in (shuffled[:cut], shuffled[cut:])])
    assert torch.equal(grouped, together[shuffled])
    assert torch.equal(uniform(grouped, 1, 9), uniform(together, 1, 9)[shuffled])


def test_no_two_of_a_seed_an_epoch_and_a_sample_share_a_key() -> None:
    indices = torch.arange(2000)
    keys = torch.cat([sample_keys(seed, epoch, indices) for seed in range(10) for epoch in range(10)])
    assert len(set(keys.tolist())) == len(keys)


@pytest.mark.parametrize("n_values", [1, 2, 9, 10, 100])
def test_draws_are_uniform(n_values: int) -> None:
    counts = torch.bincount(uniform(sample_keys(0, 0, INDICES), 1, n_values), minlength=n_values)
    assert len(counts) == n_values
    assert n_values == 1 or stats.chisquare(counts.numpy()).pvalue > 1e-3


def independent(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two series of draws from 0 to 8 pass a chi-square test of independence."""
    table = torch.bincount(first * 9 + second, minlength=81).view(9, 9)
    return bool(stats.chi2_contingency(table.numpy()).pvalue > 1e-3)


@pytest.mark.parametrize("other", [2, 3, 4])
def test_streams_are_independent(other: int) -> None:
    keys = sample_keys(0, 0, INDICES)
    assert independent(uniform(keys, 1, 9), uniform(keys, other, 9))


def test_epochs_seeds_and_neighbours_are_independent() -> None:
    draws, epoch, seed = (uniform(sample_keys(s, e, INDICES), 1, 9) for s, e in ((0, 0), (0, 1), (1, 0)))
    assert independent(draws, epoch)
    assert independent(draws, seed)
    assert independent(draws[:-1], draws[1:])


def test_the_test_of_independence_can_fail() -> None:
    draws = uniform(sample_keys(0, 0, INDICES), 1, 9)
    assert not independent(draws, draws)
