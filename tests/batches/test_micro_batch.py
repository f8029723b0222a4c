"""A share in the fewest passes that fit, equal to within one sample."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.batches.micro_batch import even, is_even, leaves_one, next_even, passes_and_micro_batch, pieces
from hpc_adabatch.batches.plan import share


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


@given(st.integers(0, 1000), st.integers(1, 2000), st.integers(1, 33), st.integers(1, 300))
def test_the_fullest_rank_has_the_passes_that_are_announced(
    start: int, global_batch: int, n_ranks: int, max_micro_batch: int
) -> None:
    sizes = [pieces(len(share(start, start + global_batch, rank, n_ranks)), max_micro_batch) for rank in range(n_ranks)]
    fullest = max(sizes, key=sum)
    assert passes_and_micro_batch(global_batch, n_ranks, max_micro_batch) == (len(fullest), fullest[0])


@given(st.integers(0, 1000), st.integers(1, 200), st.integers(1, 33), st.integers(1, 40))
def test_a_pass_of_one_sample_is_foreseen(start: int, batch: int, n_ranks: int, micro: int) -> None:
    sizes = [pieces(len(share(start, start + batch, rank, n_ranks)), micro) for rank in range(n_ranks)]
    assert leaves_one(batch, n_ranks, micro) == any(1 in passes for passes in sizes)


def fits(batch: int, n_ranks: int, max_micro_batch: int | None) -> bool:
    """Whether every pass of every rank has equally many samples."""
    share, rest = divmod(batch, n_ranks)
    if batch == 0 or rest:
        return False
    return max_micro_batch is None or len(set(pieces(share, max_micro_batch))) == 1


LIMITS = st.tuples(st.integers(1, 400), st.integers(0, 200)).map(lambda t: (t[0], t[0] + t[1]))  # least, most
RANKS = st.integers(1, 32)
MICRO = st.none() | st.integers(1, 64)
WANTED = st.floats(0, 1000)


@given(st.integers(0, 2000), RANKS, MICRO)
def test_even_means_equally_many_samples_in_every_pass(batch: int, n_ranks: int, micro: int | None) -> None:
    assert is_even(batch, n_ranks, micro) == fits(batch, n_ranks, micro)


@given(WANTED, RANKS, MICRO, LIMITS)
def test_the_nearest_even_batch_within_the_limits_is_taken(
    wanted: float, n_ranks: int, micro: int | None, limits: tuple[int, int]
) -> None:
    """Against a look at all of them; where none is even, the nearest integer."""
    least, most = limits
    size = even(wanted, n_ranks, micro, least=least, most=most)
    possible = [batch for batch in range(least, most + 1) if fits(batch, n_ranks, micro)]
    near = min(max(wanted, least), most)
    if possible:
        assert size in possible
        assert abs(size - near) == min(abs(batch - near) for batch in possible)
    else:
        assert size == round(near)


@given(st.integers(1, 600), st.integers(1, 600), RANKS, MICRO)
def test_the_next_even_batch_on_the_way_is_found(now: int, limit: int, n_ranks: int, micro: int | None) -> None:
    way = range(now + 1, limit + 1) if limit > now else range(now - 1, limit - 1, -1)
    expected = next((batch for batch in way if fits(batch, n_ranks, micro)), now)
    assert next_even(now, n_ranks, micro, limit=limit) == expected


@given(st.lists(WANTED, min_size=2, max_size=2).map(sorted), RANKS, MICRO, LIMITS)
def test_wanting_more_never_gives_less(
    wants: list[float], n_ranks: int, micro: int | None, limits: tuple[int, int]
) -> None:
    less, more = (even(wanted, n_ranks, micro, least=limits[0], most=limits[1]) for wanted in wants)
    assert less <= more


@pytest.mark.parametrize(
    ("wanted", "n_ranks", "micro", "size"),
    [
        (100.0, 1, None, 100),
        (99.0, 8, None, 96),
        (101.0, 8, None, 104),
        (100.0, 8, None, 96),  # half way: the smaller
        (105.0, 4, 10, 108),  # 27 a rank are 3 passes of 9; 26 are not, 25 are not, 24 are
        (501.0, 1, 128, 500),  # 4 passes of 125
        (3.0, 8, None, 8),  # none of 8 ranks stays without a sample
        (9.9, 1, 3, 9),  # 10 would be 3, 3, 2, 2
        (257.0, 1, 128, 256),
        (5000.0, 8, None, 1000),
    ],
)
def test_batches_worked_by_hand(wanted: float, n_ranks: int, micro: int | None, size: int) -> None:
    assert even(wanted, n_ranks, micro, least=1, most=1000) == size


@pytest.mark.parametrize(
    ("least", "most", "wanted", "size"), [(90, 95, 93.2, 93), (97, 103, 10.0, 97), (5, 5, 64.0, 5)]
)
def test_where_no_batch_fits_within_the_limits_the_nearest_is_taken(
    least: int, most: int, wanted: float, size: int
) -> None:
    assert even(wanted, 32, None, least=least, most=most) == size
