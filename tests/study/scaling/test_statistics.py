"""Intervals over jobs. The oracle is the rate at which they cover what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from hpc_adabatch.study.scaling.statistics import Interval, both, mean, ratio

times = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=6)


def covers(interval: Interval, truth: float) -> bool:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= truth <= interval.high


def test_the_interval_over_jobs_covers_the_truth_in_95_of_100_studies() -> None:
    draw = np.random.default_rng(1)
    hits = 0
    for _ in range(4000):
        one, eight = 0.8 * draw.lognormal(0, 0.08, 5), 0.13 * draw.lognormal(0, 0.03, 4)
        hits += covers(ratio(one, eight), 0.8 / 0.13)
    assert 0.94 < hits / 4000 < 0.965


def test_the_interval_over_steps_covers_far_less() -> None:
    """Bars were made from the 200 steps of one job. Jobs differ by 3 %, steps by 10 %: they covered a third."""
    draw = np.random.default_rng(2)
    over_steps = over_jobs = 0
    for _ in range(1000):
        jobs = 0.5 * draw.lognormal(0, 0.03, 4)
        steps = jobs[0] * draw.lognormal(0, 0.1, 200)
        over_steps += covers(mean(steps), 0.5)
        over_jobs += covers(mean(jobs), 0.5)
    assert over_steps / 1000 < 0.45
    assert over_jobs / 1000 > 0.93


def test_welch_by_scipy() -> None:
    one, four = [1.02, 0.97, 1.05, 1.0], [0.3, 0.28, 0.31]
    found = ratio(one, four)
    test = ttest_ind(np.log(one), np.log(four), equal_var=False)
    low, high = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))


@given(one=times, other=times)
def test_the_reverse_ratio_is_the_reciprocal(one: list[float], other: list[float]) -> None:
    there, back = ratio(one, other), ratio(other, one)
    assert back.value == pytest.approx(1 / there.value)
    assert there.low is not None
    assert back.high == pytest.approx(1 / there.low)


@given(one=times, other=times, unit=st.floats(1e-3, 1e3))
def test_the_unit_of_time_does_not_matter(one: list[float], other: list[float], unit: float) -> None:
    here, there = ratio(one, other), ratio([unit * s for s in one], [unit * s for s in other])
    assert (there.value, there.low, there.high) == pytest.approx((here.value, here.low, here.high))


def test_two_jobs_have_no_bar() -> None:
    assert mean([1.0, 1.1]).low is None
    assert ratio([1.0, 1.1, 1.2], [1.0, 1.1]).high is None
    assert ratio([2.0], [1.0]) == Interval(value=pytest.approx(2.0))


def test_jobs_without_spread_have_a_bar_without_width() -> None:
    assert ratio([2.0] * 3, [1.0] * 3) == Interval(value=2.0, low=2.0, high=2.0)


def test_strong_and_weak_by_hand() -> None:
    against = ratio([8.0] * 3, [5.0] * 3)
    (strong, strong_efficiency), (weak, weak_efficiency) = both("strong", against, 2), both("weak", against, 2)
    assert strong.value == pytest.approx(1.6)
    assert strong_efficiency.value == pytest.approx(0.8)
    assert weak.value == pytest.approx(3.2)
    assert weak_efficiency.value == pytest.approx(1.6)
    assert (weak.low, weak.high) == pytest.approx((3.2, 3.2))


def test_adaptive_has_no_speed_up_of_its_steps() -> None:
    with pytest.raises(ValueError, match="adaptive"):
        both("adaptive", Interval(value=1), 2)
