"""Averages without bias, and intervals that hold what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

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
