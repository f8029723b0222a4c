"""The covariance of a mean over unequal steps, against the quadratic form that it is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hpc_adabatch.gradients import Measurement
from hpc_adabatch.gradients.weighted_mean import WeightedMean

sys.path.insert(0, str(Path(__file__).parent))  # tests/ has no packages
from measurements import measurement

STEPS = {
    "equal": [(64, 2)] * 8,
    "rests": [(1024, 2), (1024, 2), (8, 2)] * 4,
    "growing": [(64, 2)] * 8 + [(128, 4)] * 4 + [(256, 8)] * 4,
}


def mean_of(values: np.ndarray, steps: list[tuple[int, int]], keep: float) -> WeightedMean:
    """The mean over steps with these variances, and signals of 1."""
    found = WeightedMean()
    for value, (samples, pieces) in zip(values, steps, strict=True):
        found.add(measurement(float(value), 1.0, samples, pieces), keep=keep, epoch=0)
    return found


def weights(steps: list[tuple[int, int]], keep: float) -> tuple[np.ndarray, np.ndarray]:
    """What each step knows, p, and its part of the mean, h."""
    known = np.array([samples * (1 - 1 / pieces) for samples, pieces in steps])
    faded = known * keep ** np.arange(len(steps))[::-1]
    return known, faded / faded.sum()


@pytest.mark.parametrize("keep", [1.0, 0.9])
@pytest.mark.parametrize("name", STEPS)
def test_the_covariance_is_without_bias_where_the_scatter_falls_with_what_a_step_knows(name: str, keep: float) -> None:
    """It is y' M y; M from unit vectors. Its mean is tr(M S) = sum h^2 / p, and 2 mean^2 / variance its freedom."""
    steps = STEPS[name]
    known, h = weights(steps, keep)

    def form(values: np.ndarray) -> float:
        return float(mean_of(values, steps, keep).covariance()[0, 0])

    unit = np.eye(len(steps))
    alone = [form(row) for row in unit]
    matrix = np.array(
        [[(form(a + b) - alone[i] - alone[j]) / 2 for j, b in enumerate(unit)] for i, a in enumerate(unit)]
    )
    scatter = matrix / known  # M S, with S diagonal
    assert np.trace(scatter) == pytest.approx((h**2 / known).sum())
    freedom = np.trace(scatter) ** 2 / np.trace(scatter @ scatter)
    assert freedom - 1 < mean_of(unit[0], steps, keep).freedom < freedom + 1e-6  # a little less is the safe side


def test_equal_steps_have_the_textbook_covariance() -> None:
    random = np.random.default_rng(0)
    values = random.normal([5.0, 1.0], [0.5, 0.2], size=(9, 2))
    found = WeightedMean()
    for variance, signal in values:
        found.add(measurement(variance, signal, 64, 2), keep=1.0, epoch=0)
    assert found.mean() == pytest.approx(values.mean(axis=0))
    assert found.covariance() == pytest.approx(np.cov(values.T) / 9)
    assert (found.freedom, found.steps) == (pytest.approx(8.0), pytest.approx(9.0))


@pytest.mark.parametrize(("name", "keep"), [("rests", 1.0), ("growing", 0.9)])
def test_scatter_that_falls_otherwise_is_followed(name: str, keep: float) -> None:
    """As 1 / B^2, which is that of a signal below the noise: within a fifth on average."""
    steps, random = STEPS[name], np.random.default_rng(1)
    known, h = weights(steps, keep)
    found = [mean_of(random.normal(50.0, 100.0 / known), steps, keep).covariance()[0, 0] for _ in range(400)]
    assert np.mean(found) == pytest.approx((h**2 * (100.0 / known) ** 2).sum(), rel=0.2)


def test_what_batches_of_one_epoch_share_cancels() -> None:
    """Gradients 3 + x in one dimension, x of a training set: over whole epochs their mean is exact, up to x^2."""
    random, population = np.random.default_rng(2), 120
    x = random.normal(0.0, 1.0, population)
    x += 3.0 - x.mean()
    means, covariances = [], []
    for _ in range(150):
        found = WeightedMean()
        for epoch in range(2):
            for batch in np.split(random.permutation(x), 10):
                a, b = np.split(batch, 2)
                square_sum = 6 * (a.mean() ** 2 + b.mean() ** 2)
                one = Measurement(
                    square_sum=square_sum, mean_square=batch.mean() ** 2, samples=12, pieces=2, population=population
                )
                found.add(one, keep=1.0, epoch=epoch)
        means.append(found.mean()[1])
        covariances.append(found.covariance()[1, 1])
    independent = 4 * 9 * x.var(ddof=1) / 12 / 20  # of the mean over 20 batches that know nothing of each other
    assert np.var(means) < independent / 5
    assert np.mean(covariances) == pytest.approx(np.var(means), rel=0.3)
