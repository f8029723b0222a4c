"""Averages without bias, and intervals that hold what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.gradients import Estimate, Measurement, Smoother
from hpc_adabatch.gradients.smoothing import fieller


def measurement(variance: float, signal: float, samples: int = 64, pieces: int = 2) -> Measurement:
    mean_square = signal + variance / samples
    return Measurement(
        square_sum=variance * (pieces - 1) + samples * mean_square,
        mean_square=mean_square,
        samples=samples,
        pieces=pieces,
    )


def known(smoother: Smoother) -> Estimate:
    estimate = smoother.read()
    assert estimate is not None
    return estimate


def test_a_constant_is_read_back_from_the_second_step_on() -> None:
    smoother = Smoother(1000)
    smoother.add(measurement(50.0, 0.5), 64)
    assert smoother.read() is None
    for _ in range(30):
        smoother.add(measurement(50.0, 0.5), 64)
        found = known(smoother)
        assert found.variance == pytest.approx(50.0)
        assert found.signal == pytest.approx(0.5)
        assert found.noise_scale == pytest.approx(100.0)
        assert found.low == pytest.approx(100.0)
        assert found.high == pytest.approx(100.0)
    assert found.full


def test_the_average_fades_with_samples_not_with_steps() -> None:
    """Two ways to the same samples: many short steps, few long ones."""
    results = []
    for samples in (10, 50):
        smoother = Smoother(2000)
        for level in (10.0, 40.0):
            for _ in range(1000 // samples):
                smoother.add(measurement(level, 1.0), samples)
        results.append(known(smoother).variance)
    assert results[0] == pytest.approx(results[1], rel=0.02)


def test_a_window_spans_ten_measurements_even_when_the_batch_outgrows_it() -> None:
    """Bug story: at batch 256 and a window of 700 samples nothing was left to average, and the rule went blind."""
    smoother = Smoother(700)
    for _ in range(40):
        smoother.add(measurement(50.0, 0.5), 5 * 256)
    assert known(smoother).steps > 9


def test_nothing_is_clipped_before_it_is_read() -> None:
    """A true signal of 1 at variance 1000 from two pieces: clipping each step would read 28."""
    random, smoother = np.random.default_rng(0), Smoother(10**6)
    for _ in range(4000):
        a, b = (random.normal(1 / math.sqrt(500), math.sqrt(2 / 32), 500) for _ in range(2))
        mean = (a + b) / 2
        smoother.add(Measurement(square_sum=32 * (a @ a + b @ b), mean_square=mean @ mean, samples=64, pieces=2), 64)
    found = known(smoother)
    assert found.signal == pytest.approx(1.0, abs=0.15)
    assert found.variance == pytest.approx(1000.0, rel=0.02)
    assert found.low < 1000 < found.high


def test_nineteen_of_twenty_intervals_hold_the_true_noise_scale() -> None:
    random, hits, runs = np.random.default_rng(1), 0, 600
    for _ in range(runs):
        smoother = Smoother(10**9)
        for _ in range(40):
            noise = random.multivariate_normal([100.0, 2.0], [[400.0, -3.0], [-3.0, 1.0]])
            smoother.add(measurement(*noise), 64)
        found = known(smoother)
        hits += found.low <= 50.0 <= found.high
    assert 0.92 <= hits / runs <= 0.98


def test_a_signal_lost_in_the_noise_has_no_upper_end() -> None:
    low, high = fieller(np.array([100.0, 0.5]), np.array([[4.0, 0.0], [0.0, 1.0]]), 2.0)
    assert high == math.inf
    assert 30 < low < 60  # the ratio cannot be small: 100 over at most 0.5 + 2


FLOATS = st.floats(-30, 30)


@given(st.floats(0, 30), FLOATS, FLOATS, FLOATS, FLOATS, st.floats(0.1, 10))
def test_the_interval_holds_the_estimate_and_all_that_is_possible(
    over: float, under: float, x: float, y: float, z: float, quantile: float
) -> None:
    """Possible: over - r under is within so many of its standard errors of 0; under is 0 at least."""
    root = np.array([[x, 0.0], [y, z]])
    covariance = root @ root.T
    low, high = fieller(np.array([over, under]), covariance, quantile)
    estimate = over / under if under > 0 else math.inf
    assert 0 <= low <= estimate <= high

    def excess(r: float) -> float:
        weights = np.array([1.0, -r])
        return (over - r * max(under, 0.0)) ** 2 - quantile**2 * weights @ covariance @ weights

    scale = over**2 + under**2 + quantile**2 * np.abs(covariance).sum() + 1e-300
    for r in np.concatenate([[0.0], np.geomspace(1e-4, 1e4, 200)]):
        if not low * (1 - 1e-6) <= r <= high * (1 + 1e-6):
            assert excess(r) > -1e-9 * scale * (1 + r * r)
    for end in (low, high):
        if 0 < end < math.inf and end != estimate:
            assert abs(excess(end)) <= 1e-6 * scale * (1 + end * end)


def test_where_zero_is_possible_the_interval_begins_there() -> None:
    """Bug story: few measurements that move together read 0.41, and 2.76 to infinity; 0 to 1 was possible as well."""
    assert fieller(np.array([0.41, 1.0]), np.array([[2.928, 2.29], [2.29, 2.0]]), 1.0) == (0.0, math.inf)


def test_a_signal_below_zero_by_chance_has_no_upper_end() -> None:
    """Bug story: it was said to lie between 0 and 0 samples. It says no more than a signal of 0 does."""
    covariance = np.array([[4.0, 0.0], [0.0, 1.0]])
    assert fieller(np.array([100.0, -9.0]), covariance, 2.0) == fieller(np.array([100.0, 0.0]), covariance, 2.0)
    assert fieller(np.array([100.0, -9.0]), 0 * covariance, 2.0) == (math.inf, math.inf)


def test_state_goes_through_a_restart() -> None:
    one, two = Smoother(500), Smoother(500)
    for level in (3.0, 5.0, 4.0):
        one.add(measurement(level, 0.1), 64)
    two.load_state_dict(one.state_dict())
    for smoother in (one, two):
        smoother.add(measurement(7.0, 0.2), 64)
    assert one.read() == two.read()


def test_what_is_not_finite_is_refused() -> None:
    smoother = Smoother(100)
    with pytest.raises(ValueError, match="finite"):
        smoother.add(Measurement(square_sum=math.inf, mean_square=1.0, samples=4, pieces=2), 4)
    with pytest.raises(InputError, match=r"policy\.window"):
        Smoother(0)
