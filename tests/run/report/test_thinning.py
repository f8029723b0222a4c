"""A curve with fewer points fills the same pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_adabatch.run.report.thinning import kept

NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=400), st.integers(20, 100))
def test_ends_extremes_and_gaps_are_kept_in_order(rows: list[tuple[float, float]], most: int) -> None:
    columns = list(np.array(rows).T)
    found = kept(columns, most)
    assert list(found) == sorted(set(found))
    assert {found[0], found[-1]} == {0, len(rows) - 1}
    assert len(found) <= most + most // 2 + 2, "gaps may add a point to each stretch and column"
    for column in columns:
        if not np.isnan(column).all():
            assert np.nanmin(column[found]) == np.nanmin(column)
            assert np.nanmax(column[found]) == np.nanmax(column)
        assert np.isnan(column[found]).any() == np.isnan(column).any()


def test_few_points_all_stay() -> None:
    assert list(kept([np.arange(7.0)], 8)) == list(range(7))


def test_every_column_of_pixels_has_the_same_extremes() -> None:
    """A peak of one point among 300,000 is drawn, which neither every n-th point nor averages would show."""
    values = np.sin(np.arange(300_000) / 900)
    values[123_457] = 9.0
    found = kept([values], 1200)
    assert len(found) <= 1200
    assert 123_457 in found
    edges = np.linspace(0, len(values), 1199 // 2 + 1).astype(int)
    for begin, end in pairwise(edges):
        chosen = values[found[(found >= begin) & (found < end)]]
        assert (chosen.min(), chosen.max()) == (values[begin:end].min(), values[begin:end].max())


@pytest.mark.parametrize("points", [1, 2])
def test_a_curve_of_one_or_two_points(points: int) -> None:
    assert list(kept([np.full(points, np.nan)], 20)) == list(range(points))
