"""Variance and signal against explicit per-sample gradients, and without bias over many draws."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.gradients import Measurement
from hpc_adabatch.gradients.noise import noise_of_mean, samples_for

SIZES = [[1] * 12, [4, 4, 4], [7, 32, 32, 50, 3], [1, 30], [5, 5, 4]]


def measured(draws: np.ndarray, sizes: list[int], population: int | None = None) -> list[Measurement]:
    """The sums over pieces of these sizes, for each draw; ``draws`` has one gradient a row: (draws, samples, 3)."""
    pieces = np.split(draws, np.cumsum(sizes)[:-1], axis=1)
    means = np.stack([piece.mean(axis=1) for piece in pieces], axis=1)  # (draws, pieces, 3)
    mean = draws.mean(axis=1)
    square_sums = (np.array(sizes) * (means**2).sum(axis=2)).sum(axis=1)
    inner = (np.array(sizes) * (means @ mean[:, :, None])[:, :, 0] ** 2).sum(axis=1)
    return [
        Measurement(
            square_sum=square_sum,
            mean_square=mean_square,
            samples=draws.shape[1],
            pieces=len(sizes),
            inner_square_sum=inner_square_sum,
            population=population,
        )
        for square_sum, mean_square, inner_square_sum in zip(square_sums, (mean**2).sum(axis=1), inner, strict=True)
    ]


@given(st.integers(2, 40), st.integers(1, 9), st.integers(0, 10**6))
def test_single_samples_as_pieces_give_the_textbook_variances(n_samples: int, dimensions: int, seed: int) -> None:
    gradients = np.random.default_rng(seed).normal(0.3, 2.0, (n_samples, dimensions))
    (found,) = measured(gradients[None], [1] * n_samples)
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
    draws = measured(random.normal(true, deviation, (20_000, sum(sizes), 3)), sizes)
    for name, expected in (("variance", (deviation**2).sum()), ("signal", true @ true)):
        values = np.array([getattr(draw, name) for draw in draws])
        assert abs(values.mean() - expected) < 3 * values.std() / np.sqrt(len(values)), name


def test_the_equal_weight_formula_is_wrong_for_uneven_pieces() -> None:
    """What the weights are for: the usual n/(n-1) (mean |g_i|^2 - |g|^2) times the mean size."""
    random, sizes = np.random.default_rng(0), [7, 32, 32, 50, 3]
    draws = random.normal(0.0, 1.0, (4000, sum(sizes), 5))
    means = np.stack([piece.mean(axis=1) for piece in np.split(draws, np.cumsum(sizes)[:-1], axis=1)], axis=1)
    squares = ((means - means.mean(axis=1, keepdims=True)) ** 2).sum(axis=2)  # (draws, pieces)
    wrong = np.mean(sizes) * squares.mean(axis=1) * 5 / 4
    right = [draw.variance for draw in measured(draws, sizes)]
    assert np.mean(right) == pytest.approx(5.0, rel=0.05)
    assert np.mean(wrong) / 5.0 == pytest.approx(2.8, rel=0.1)


@pytest.mark.parametrize("sizes", [[1, 3], [2, 2], [1, 1, 2], [3, 3]], ids=str)
def test_over_all_batches_of_a_training_set_both_are_those_of_its_gradients(sizes: list[int]) -> None:
    """Every batch of 6 samples in every order, none twice: the means are exact. B = N leaves no noise."""
    gradients = np.random.default_rng(3).normal(0.4, 1.0, (6, 2))
    mean = gradients.mean(axis=0)
    draws = measured(np.stack([gradients[list(order)] for order in permutations(range(6), sum(sizes))]), sizes, 6)
    assert np.mean([draw.variance for draw in draws]) == pytest.approx(gradients.var(axis=0, ddof=1).sum())
    assert np.mean([draw.signal for draw in draws]) == pytest.approx(mean @ mean)
    errors = [((gradients[list(order)].mean(axis=0) - mean) ** 2).sum() for order in permutations(range(6), sum(sizes))]
    assert np.mean([draw.noise for draw in draws]) == pytest.approx(np.mean(errors), abs=1e-12)
    if sum(sizes) == 6:
        assert all(draw.signal == draw.mean_square for draw in draws)


def test_all_samples_one_by_one_give_the_variance_along_the_training_sets_gradient() -> None:
    gradients = np.random.default_rng(4).normal(0.4, 1.0, (9, 3))
    mean, covariance = gradients.mean(axis=0), np.cov(gradients.T)
    (found,) = measured(gradients[None], [1] * 9, 9)
    assert found.inner_variance == pytest.approx(mean @ covariance @ mean)
    assert found.orthogonal_variance == pytest.approx(np.trace(covariance) - mean @ covariance @ mean / (mean @ mean))


@given(st.floats(1e-6, 1e6), st.integers(1, 5000), st.none() | st.integers(5001, 10**6))
def test_the_batch_for_a_noise_has_that_noise(variance: float, samples: int, population: int | None) -> None:
    noise = noise_of_mean(variance, samples, population)
    assert samples_for(variance, noise, population) == pytest.approx(samples, rel=1e-6)


def test_no_noise_takes_the_whole_training_set_and_no_variance_no_samples() -> None:
    assert [samples_for(3.0, noise, 100) for noise in (0.0, -1.0)] == [pytest.approx(100.0)] * 2
    assert samples_for(3.0, 0.0, None) == math.inf
    assert [samples_for(0.0, noise, 100) for noise in (0.0, 1.0)] == [0.0, 0.0]
    assert noise_of_mean(3.0, 100, 100) == 0.0


def test_more_samples_than_there_are_is_no_batch() -> None:
    with pytest.raises(ValueError, match="8 samples out of 7"):
        Measurement(square_sum=1.0, mean_square=1.0, samples=8, pieces=2, population=7)


def test_a_variance_needs_two_pieces() -> None:
    with pytest.raises(ValueError, match="two pieces"):
        Measurement(square_sum=1.0, mean_square=1.0, samples=8, pieces=1)


def test_inner_products_must_have_been_measured() -> None:
    with pytest.raises(ValueError, match="not measured"):
        _ = Measurement(square_sum=1.0, mean_square=1.0, samples=8, pieces=2).inner_variance
