"""Variance and signal against explicit per-sample gradients, and without bias over many draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.gradients import Measurement

SIZES = [[1] * 12, [4, 4, 4], [7, 32, 32, 50, 3], [1, 30], [5, 5, 4]]


def measured(samples: np.ndarray, sizes: list[int]) -> Measurement:
    """The sums over pieces of these sizes; ``samples`` has one gradient a row."""
    pieces = np.split(samples, np.cumsum(sizes)[:-1])
    means = [piece.mean(axis=0) for piece in pieces]
    mean = samples.mean(axis=0)
    return Measurement(
        square_sum=sum(len(p) * (g @ g) for p, g in zip(pieces, means, strict=True)),
        mean_square=mean @ mean,
        samples=len(samples),
        pieces=len(sizes),
        inner_square_sum=sum(len(p) * (g @ mean) ** 2 for p, g in zip(pieces, means, strict=True)),
    )


@given(st.integers(2, 40), st.integers(1, 9), st.integers(0, 10**6))
def test_single_samples_as_pieces_give_the_textbook_variances(n_samples: int, dimensions: int, seed: int) -> None:
    gradients = np.random.default_rng(seed).normal(0.3, 2.0, (n_samples, dimensions))
    found = measured(gradients, [1] * n_samples)
    mean = gradients.mean(axis=0)
    assert found.variance == pytest.approx(gradients.var(axis=0, ddof=1).sum(), rel=1e-9)
    assert found.signal == pytest.approx(mean @ mean - found.variance / n_samples, rel=1e-9)
    along = gradients @ mean
    assert found.inner_variance == pytest.approx(along.var(ddof=1), rel=1e-7, abs=1e-12)
    across = gradients - np.outer(along / (mean @ mean), mean)
    assert found.orthogonal_variance == pytest.approx((across**2).sum() / (n_samples - 1), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_neither_is_biased_for_even_or_uneven_pieces(sizes: list[int]) -> None:
    """20,000 draws; three standard errors. The equal-weight formula is outside for uneven pieces."""
    random, true = np.random.default_rng(0), np.array([0.5, -1.0, 0.25])
    deviation = np.array([2.0, 1.0, 3.0])
    draws = [measured(random.normal(true, deviation, (sum(sizes), 3)), sizes) for _ in range(20_000)]
    for name, expected in (("variance", (deviation**2).sum()), ("signal", true @ true)):
        values = np.array([getattr(draw, name) for draw in draws])
        assert abs(values.mean() - expected) < 3 * values.std() / np.sqrt(len(values)), name


def test_the_equal_weight_formula_is_wrong_for_uneven_pieces() -> None:
    """What the weights are for: the usual n/(n-1) (mean |g_i|^2 - |g|^2) times the mean size."""
    random, sizes = np.random.default_rng(0), [7, 32, 32, 50, 3]
    wrong, right = [], []
    for _ in range(4000):
        samples = random.normal(0.0, 1.0, (sum(sizes), 5))
        means = [piece.mean(axis=0) for piece in np.split(samples, np.cumsum(sizes)[:-1])]
        centre = np.mean(means, axis=0)
        wrong.append(np.mean(sizes) * np.mean([((g - centre) ** 2).sum() for g in means]) * 5 / 4)
        right.append(measured(samples, sizes).variance)
    assert np.mean(right) == pytest.approx(5.0, rel=0.05)
    assert np.mean(wrong) / 5.0 == pytest.approx(2.8, rel=0.1)


def test_a_variance_needs_two_pieces() -> None:
    with pytest.raises(ValueError, match="two pieces"):
        Measurement(square_sum=1.0, mean_square=1.0, samples=8, pieces=1)


def test_inner_products_must_have_been_measured() -> None:
    with pytest.raises(ValueError, match="not measured"):
        _ = Measurement(square_sum=1.0, mean_square=1.0, samples=8, pieces=2).inner_variance
