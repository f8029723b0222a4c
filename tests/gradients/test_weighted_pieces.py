"""Pieces of any weights: without bias over every batch of a training set, and our own formulas for those of samples."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from hpc_adabatch.gradients import Measurement
from hpc_adabatch.gradients.weighted_pieces import measurement, terms


def measured(batch: np.ndarray, sizes: list[int], weights: list[float], population: int) -> Measurement:
    """The measurement of a batch, one gradient a row, as a loop with these weights takes its mean."""
    means = [piece.mean(axis=0) for piece in np.split(batch, np.cumsum(sizes)[:-1])]
    unit = sum(weights)
    square_sum = sum(w / unit * float(g @ g) for w, g in zip(weights, means, strict=True))
    mean = sum(w / unit * g for w, g in zip(weights, means, strict=True))
    sums = np.sum([terms(b, w) for b, w in zip(sizes, weights, strict=True)], axis=0)
    return measurement(sums, square_sum, float(mean @ mean), population)


@pytest.mark.parametrize(
    ("sizes", "weights"), [([1, 3], [1, 1]), ([1, 1, 2], [0.25] * 3), ([2, 3], [5, 2]), ([3, 3], [1, 1])], ids=str
)
def test_over_all_batches_of_a_training_set_both_are_those_of_its_gradients(
    sizes: list[int], weights: list[float]
) -> None:
    """Every batch of 6 samples in every order, none twice. Taken for a mean over samples, [1, 3] is 4/3 too large."""
    gradients = np.random.default_rng(3).normal(0.4, 1.0, (6, 2))
    mean, true = gradients.mean(axis=0), gradients.var(axis=0, ddof=1).sum()
    batches = [gradients[list(order)] for order in permutations(range(6), sum(sizes))]
    draws = [measured(batch, sizes, weights, 6) for batch in batches]
    assert all(draw.variance >= 0 for draw in draws)
    assert np.mean([draw.variance for draw in draws]) == pytest.approx(true)
    assert np.mean([draw.signal for draw in draws]) == pytest.approx(mean @ mean)


@pytest.mark.parametrize("sizes", [[7, 32, 32, 50, 3], [1] * 7, [5, 5, 4]], ids=str)
def test_weights_of_samples_give_the_batch_and_its_pieces(sizes: list[int]) -> None:
    batch = np.random.default_rng(1).normal(0.1, 1.0, (sum(sizes), 4))
    found = measured(batch, sizes, [b / 3 for b in sizes], 200)
    assert (found.samples, found.pieces) == (sum(sizes), len(sizes))
    means = [piece.mean(axis=0) for piece in np.split(batch, np.cumsum(sizes)[:-1])]
    squares = [b * float(g @ g) for b, g in zip(sizes, means, strict=True)]
    assert found.square_sum == pytest.approx(sum(squares), rel=1e-12)
