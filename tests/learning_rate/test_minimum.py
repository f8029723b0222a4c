"""The Gaussian process beside scikit-learn's and beside closed forms, and what it says of curves that are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from hpc_adabatch.learning_rate.minimum import Prior, fit, past_minimum, posterior

PLACES = np.linspace(0.0, 1.0, 7)


def curve(points: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A curve with noise of a tenth."""
    draw = np.random.default_rng(0)
    x = np.sort(draw.uniform(0, 1, points))
    return x, np.sin(5 * x) + 0.1 * draw.standard_normal(points)


def test_of_one_point_by_hand() -> None:
    """f(x) given y(0) = 1, with c = 0, s = 2, r = 1/2: mean k(x) y / (1 + r), and the variance of f(0) - f(x)."""
    mean, variance = posterior(Prior(0.0, 2.0, 0.5), np.array([0.0]), np.array([1.0]), np.array([0.2, 0.0]))
    k = np.exp(-0.5)
    assert mean == pytest.approx([k / 1.5, 1 / 1.5])
    shrink = 1 / 1.5
    assert variance == pytest.approx([2 * ((1 - k * k * shrink) + (1 - shrink) - 2 * (k - k * shrink)), 0.0])


def test_the_posterior_is_that_of_scikit_learn() -> None:
    x, y = curve()
    kernel = ConstantKernel(0.7, "fixed") * RBF(0.2, "fixed")
    theirs = GaussianProcessRegressor(kernel, alpha=0.7 * 0.03, optimizer=None).fit(x[:, None], y - 0.3)
    mean, covariance = theirs.predict(PLACES[:, None], return_cov=True)
    ours, variance = posterior(Prior(0.3, 0.7, 0.03), x, y, PLACES)
    assert ours == pytest.approx(mean + 0.3, abs=1e-9)
    difference = np.diag(covariance) + covariance[-1, -1] - 2 * covariance[:, -1]
    assert variance == pytest.approx(difference, abs=1e-9)


def test_no_constants_are_likelier_than_the_ones_that_are_found() -> None:
    x, y = curve()
    found = fit(x, y)

    def likelihood(kernel: object, mean: float) -> GaussianProcessRegressor:
        return GaussianProcessRegressor(kernel, alpha=1e-12, n_restarts_optimizer=3, random_state=0).fit(
            x[:, None], y - mean
        )

    theirs = likelihood(ConstantKernel(1.0) * RBF(0.2, "fixed") + WhiteKernel(0.1), found.mean)
    ours = ConstantKernel(found.variance, "fixed") * RBF(0.2, "fixed")
    value = likelihood(ours + WhiteKernel(found.variance * found.noise, "fixed"), found.mean)
    best = theirs.log_marginal_likelihood_value_
    assert value.log_marginal_likelihood_value_ == pytest.approx(best, abs=0.02)  # the grid's steps
    for mean in (found.mean - 0.1, found.mean + 0.1):
        moved = likelihood(ours + WhiteKernel(found.variance * found.noise, "fixed"), mean)
        assert moved.log_marginal_likelihood_value_ < value.log_marginal_likelihood_value_
    assert found.variance * found.noise == pytest.approx(0.01, rel=0.7)


@pytest.mark.parametrize("points", [20, 90, 700])
def test_a_valley_is_seen_where_it_is(points: int) -> None:
    x = np.linspace(0, 1, points)
    y = 2 + (x - 0.6) ** 2 * 4 + 0.1 * np.random.default_rng(points).standard_normal(points)
    found = past_minimum(x, y, 0)
    assert min(found.probabilities) > 0.95
    assert found.place == pytest.approx(0.6, abs=0.08)


@pytest.mark.parametrize("seed", range(5))
def test_neither_a_slope_nor_noise_alone_is_a_valley(seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, noise = np.linspace(0, 1, 300), draw.standard_normal(300)
    assert max(past_minimum(x, 2 - x + 0.1 * noise, seed).probabilities) < 0.95
    assert max(past_minimum(x, noise, seed).probabilities) < 0.95


def test_what_never_changes_has_no_minimum() -> None:
    assert past_minimum(np.linspace(0, 1, 30), np.full(30, 2.0), 0).probabilities == (0.0,) * 5


def test_the_unit_of_the_losses_is_no_matter() -> None:
    x, y = curve(200)
    one, other = past_minimum(x, y, 3), past_minimum(x, 1e-6 * y - 5e-6, 3)
    assert other.probabilities == pytest.approx(one.probabilities, abs=1e-6)
    assert other.place == pytest.approx(one.place)
