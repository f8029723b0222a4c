"""Averages without bias, and intervals that hold what they say."""

from __future__ import annotations

import math
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.gradients import Estimate, Measurement, Smoother
from hpc_adabatch.gradients.smoothing import fieller

sys.path.insert(0, str(Path(__file__).parent))  # tests/ has no packages
from measurements import measurement


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


@pytest.mark.long
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


FLOATS = st.floats(-30, 30).map(lambda number: 0.0 if abs(number) < 1e-100 else number)  # their squares are numbers


@given(FLOATS.map(abs), FLOATS, FLOATS, FLOATS, FLOATS, st.floats(0.1, 10))
@example(5e-324, 0.0, 0.0, 0.0, 2.0, 1.0)  # the ratio of the units is 0
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


@pytest.mark.parametrize("units", [(1.0, 1.0), (2.0**-480, 2.0**-480), (2.0**-500, 2.0**400), (2.0**490, 2.0**-490)])
def test_the_interval_is_the_same_in_any_unit(units: tuple[float, float]) -> None:
    """Bug story: products of small numbers were rounded to 0, and the interval was infinity alone."""
    mean, covariance = np.array([5.0, 2.0]), np.array([[3.0, 0.5], [0.5, 0.25]])
    for under in (2.0, 0.0):
        mean[1] = under
        low, high = fieller(mean, covariance, 1.5)
        found = fieller(mean * units, covariance * np.outer(units, units), 1.5)
        assert found == (low * units[0] / units[1], high * units[0] / units[1])
    assert (
        fieller(np.array([1.0, 0.0]) * units, np.diag([0.0, 1.0]) * np.outer(units, units), 1.0)[0]
        == units[0] / units[1]
    )


def test_where_zero_is_possible_the_interval_begins_there() -> None:
    """Bug story: few measurements that move together read 0.41, and 2.76 to infinity; 0 to 1 was possible as well."""
    assert fieller(np.array([0.41, 1.0]), np.array([[2.928, 2.29], [2.29, 2.0]]), 1.0) == (0.0, math.inf)


def test_a_signal_below_zero_by_chance_has_no_upper_end() -> None:
    """Bug story: it was said to lie between 0 and 0 samples. It says no more than a signal of 0 does."""
    covariance = np.array([[4.0, 0.0], [0.0, 1.0]])
    assert fieller(np.array([100.0, -9.0]), covariance, 2.0) == fieller(np.array([100.0, 0.0]), covariance, 2.0)
    assert fieller(np.array([100.0, -9.0]), 0 * covariance, 2.0) == (math.inf, math.inf)


def drawn(random: np.random.Generator, sizes: list[int], variance: float, signal: float) -> Measurement:
    """A step of pieces of these sizes, whose gradients have 10 components."""
    deviations = np.sqrt(variance / 10 / np.array(sizes))[:, None]
    pieces = math.sqrt(signal / 10) + deviations * random.normal(size=(len(sizes), 10))
    mean = sizes @ pieces / sum(sizes)
    squares = float(sizes @ (pieces**2).sum(axis=1))
    return Measurement(square_sum=squares, mean_square=float(mean @ mean), samples=sum(sizes), pieces=len(sizes))


@pytest.mark.parametrize("rest", [2, 8, 64, 500])
def test_a_rest_makes_no_average_worse(rest: int) -> None:
    """Bug story: a rest of 8 after steps of 1024 counted as much as they; the signal's scatter grew thirtyfold."""
    scatter, open_ended = [], []
    for rests in (0, 2):
        random, found = np.random.default_rng(0), []
        for _ in range(60):
            smoother = Smoother(10**9)
            for number in range(16):
                smoother.add(drawn(random, [512, 512], 1000.0, 1.0), 1024)
                if number % 8 == 7 and rests:
                    smoother.add(drawn(random, [rest // 2] * 2, 1000.0, 1.0), rest)
            found.append(known(smoother))
        scatter.append(np.std([estimate.signal for estimate in found]))
        open_ended.append(sum(math.isinf(estimate.high) for estimate in found))
    assert scatter[1] < 1.3 * scatter[0]
    assert open_ended[1] <= open_ended[0] + 2


def test_a_growing_batch_sharpens_the_average_as_its_samples_do() -> None:
    """64 to 1024: the weights that are best for the true scatter are little better, equal ones far worse."""
    random, batches = np.random.default_rng(1), [64] * 16 + [256] * 4 + [1024] * 2
    found, equal, best = [], [], []
    scatter = np.array([2 * 2 / batch**2 + 4 / 500 / batch for batch in batches])  # variance 1, signal 1/500
    for _ in range(150):
        smoother, steps = Smoother(10**9), []
        for batch in batches:
            steps.append(drawn(random, [batch // 2] * 2, 1.0, 1 / 500))
            smoother.add(steps[-1], batch)
        signals = [step.signal for step in steps]
        found.append(known(smoother).signal)
        equal.append(np.mean(signals))
        best.append(np.average(signals, weights=1 / scatter))
    assert abs(np.mean(found) - 1 / 500) < 3 * np.std(found) / math.sqrt(150)
    assert np.std(found) < 1.5 * np.std(best)
    assert np.std(equal) > 2 * np.std(found)


def test_the_gradients_of_batches_without_common_samples_have_the_disjoint_signal_in_common() -> None:
    """Over all pairs of batches of 2 and 3 of 6 samples, exactly."""
    gradients = np.random.default_rng(5).normal(0.3, 1.0, (6, 2))
    orders = [list(order) for order in permutations(range(6), 5)]
    products = [gradients[order[:2]].mean(axis=0) @ gradients[order[2:]].mean(axis=0) for order in orders]
    mean, variance = gradients.mean(axis=0), float(gradients.var(axis=0, ddof=1).sum())
    smoother = Smoother(100)
    for _ in range(3):
        smoother.add(measurement(variance, float(mean @ mean), samples=4, population=6), 4)
    found = known(smoother)
    assert found.signal == pytest.approx(mean @ mean)
    assert found.disjoint_signal == pytest.approx(np.mean(products))
    assert found.batch_with(variance * (1 / 4 - 1 / 6)) == pytest.approx(4.0)


def test_the_averages_of_an_older_checkpoint_begin_anew() -> None:
    old = {"sums": [1.0, 2.0], "products": [[1.0, 2.0], [2.0, 4.0]], "others": [None] * 3, "weights": [1.0, 1.0]}
    smoother = Smoother(500)
    smoother.load_state_dict({**old, "mean_square": 1.0, "samples": 64})
    assert smoother.read() is None
    for _ in range(2):
        smoother.add(measurement(5.0, 0.1), 64)
    assert known(smoother).variance == pytest.approx(5.0)


def test_state_goes_through_a_restart() -> None:
    one, two = Smoother(500), Smoother(500)
    for level in (3.0, 5.0, 4.0):
        one.add(measurement(level, 0.1, population=150), 64)
    two.load_state_dict(one.state_dict())
    for smoother in (one, two):
        smoother.add(measurement(7.0, 0.2, population=150), 64)
    assert one.read() == two.read()


def test_what_is_not_finite_is_refused() -> None:
    smoother = Smoother(100)
    with pytest.raises(ValueError, match="finite"):
        smoother.add(Measurement(square_sum=math.inf, mean_square=1.0, samples=4, pieces=2), 4)
    with pytest.raises(InputError, match=r"policy\.window"):
        Smoother(0)
