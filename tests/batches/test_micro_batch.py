"""A share in the fewest passes that fit, equal to within one sample."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_adabatch.batches.micro_batch import passes_and_micro_batch, pieces
from hpc_adabatch.batches.plan import share


@settings(deadline=None)
@given(st.integers(1, 10_000), st.integers(1, 600))
def test_a_share_is_split_into_the_fewest_equal_passes(local_batch: int, max_micro_batch: int) -> None:
    sizes = pieces(local_batch, max_micro_batch)
    assert sum(sizes) == local_batch
    assert max(sizes) <= max_micro_batch
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == math.ceil(local_batch / max_micro_batch)


@pytest.mark.parametrize(
    ("local_batch", "sizes"), [(0, []), (1, [1]), (100, [100]), (128, [128]), (129, [65, 64]), (500, [125] * 4)]
)
def test_splits_worked_by_hand(local_batch: int, sizes: list[int]) -> None:
    assert pieces(local_batch, 128) == sizes


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 2000), st.integers(1, 33), st.integers(1, 300))
def test_the_fullest_rank_has_the_passes_that_are_announced(
    start: int, global_batch: int, n_ranks: int, max_micro_batch: int
) -> None:
    sizes = [pieces(len(share(start, start + global_batch, rank, n_ranks)), max_micro_batch) for rank in range(n_ranks)]
    fullest = max(sizes, key=sum)
    assert passes_and_micro_batch(global_batch, n_ranks, max_micro_batch) == (len(fullest), fullest[0])
