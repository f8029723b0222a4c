"""A run's way along its schedule: no jump where the batch changes inside the warm-up, and the same after a restart."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_adabatch import LearningRate
from hpc_adabatch.learning_rate import Course

EPOCH = 10_000
LEGW = LearningRate.from_preset("legw", warmup_epochs=0.5)


def follow(
    course: Course, start: int, changes: list[tuple[float, int]], *, until: float, step: int = 10
) -> list[float]:
    """The rate every ``step`` samples, with the batch changed at these epochs."""
    batch, seen, rates, waiting = start, 0, [], list(changes)
    while seen < until * EPOCH:
        while waiting and seen >= waiting[0][0] * EPOCH:
            course.resize(batch, waiting[0][1])
            batch = waiting.pop(0)[1]
        rates.append(course.multiplier(batch))
        course.advance(step, batch)
        seen += step
    return rates


@pytest.mark.parametrize(
    "rule", [LEGW, LearningRate(scaling="linear", warmup="fixed", warmup_epochs=2, warmup_start=0.1)]
)
def test_growth_inside_the_warm_up_neither_jumps_nor_falls(rule: LearningRate) -> None:
    rates = follow(Course(rule, EPOCH, 8), 8, [(0.1, 16), (0.3, 32), (1.5, 64)], until=6)
    steps = [after - before for before, after in pairwise(rates)]
    assert min(steps) >= 0
    assert max(steps) < 0.02
    assert rates[-1] == pytest.approx(rule.multiplier(1e9, EPOCH, 8, 64))


def test_the_climb_ends_where_legw_for_the_larger_batch_does() -> None:
    course = Course(LEGW, EPOCH, 8)
    rates = follow(course, 8, [(0.25, 32)], until=3, step=1)
    fresh = LearningRate.from_preset("legw", warmup_epochs=0.5, reference_batch=8)
    assert rates[2 * EPOCH] == pytest.approx(2.0)  # sqrt(32 / 8), after 0.5 * 4 epochs
    assert rates[2 * EPOCH - 100] < 2.0
    assert rates[EPOCH] == pytest.approx(0.5 + 1.5 * (1 - 0.25) / (2 - 0.25))
    assert rates[EPOCH] > fresh.multiplier(EPOCH, EPOCH, 32, 32)  # which started lower


def test_its_slope_stays_below_that_of_legws_own_warm_up() -> None:
    rates = follow(Course(LEGW, EPOCH, 8), 8, [(0.4, 128)], until=8, step=1)
    own = 4.0 / (0.5 * 16 * EPOCH)  # sqrt(k) over its length
    assert max(b - a for a, b in pairwise(rates[int(0.4 * EPOCH) :])) < own


def test_growth_after_the_warm_up_jumps_by_the_root_and_nothing_is_reopened() -> None:
    rates = follow(Course(LEGW, EPOCH, 8), 8, [(0.6, 32)], until=1)
    assert rates[599] == pytest.approx(1.0)
    assert rates[601] == pytest.approx(2.0)


def test_a_batch_that_shrinks_takes_the_rate_of_the_smaller_one() -> None:
    rates = follow(Course(LEGW, EPOCH, 8), 8, [(0.2, 32), (0.7, 8)], until=1)
    assert rates[-1] == pytest.approx(1.0)


def test_a_batch_that_shrinks_inside_the_warm_up_stays_on_its_line() -> None:
    """Bug story: from 8 to 7 the rate went from 0.81 to 2.65 at once, as if the warm-up of 1 had been that of 7."""
    rates = follow(Course(LEGW, EPOCH, 1), 1, [(0.1, 8), (1.0, 7)], until=5)
    line = [0.2 + (8**0.5 - 0.2) * (epoch - 0.1) / (0.5 * 8 - 0.1) for epoch in (0.99, 1.0, 1.01, 2.0, 3.5)]
    assert [rates[round(epoch * 1000)] for epoch in (0.99, 1.0, 1.01, 2.0, 3.5)] == pytest.approx(line)
    meets = 0.1 + 3.9 * (7**0.5 - 0.2) / (8**0.5 - 0.2)
    assert next(n for n, rate in enumerate(rates) if rate == pytest.approx(7**0.5)) == pytest.approx(
        meets * 1000, abs=1
    )


def test_a_batch_that_shrinks_and_grows_again_is_back_on_its_line() -> None:
    straight = follow(Course(LEGW, EPOCH, 8), 8, [(0.2, 32)], until=3)
    wobbling = follow(Course(LEGW, EPOCH, 8), 8, [(0.2, 32), (0.4, 30), (0.5, 32), (0.9, 29), (1.1, 32)], until=3)
    assert wobbling == pytest.approx(straight)


def test_a_rate_above_the_smaller_batchs_peak_falls_to_it() -> None:
    rates = follow(Course(LEGW, EPOCH, 32), 32, [(0.4, 2)], until=1)
    assert rates[399] == pytest.approx(0.399 / 0.5)
    assert rates[401] == pytest.approx(0.25)


SCALES: dict[str, Callable[[float], float]] = {"none": lambda _: 1.0, "linear": lambda k: k, "sqrt": math.sqrt}
RULES = [
    LearningRate(scaling=scaling, reference_batch=reference, **warmup)  # type: ignore[arg-type]
    for scaling in SCALES
    for reference in (None, 4, 64)
    for warmup in (
        {},
        {"warmup": "legw", "warmup_epochs": 0.1},
        {"warmup": "fixed", "warmup_epochs": 2.0, "warmup_start": 0.25},
        {"warmup": "fixed", "warmup_epochs": 2.0, "warmup_start": 1.0},
    )
]


@settings(max_examples=100)
@given(
    st.sampled_from(RULES),
    st.integers(1, 64),
    st.lists(st.tuples(st.integers(0, 2 * EPOCH), st.integers(1, 64)), max_size=8),
)
def test_whatever_the_batches_do_the_rate_jumps_no_further_than_the_scaling(
    rule: LearningRate, start: int, changes: list[tuple[int, int]]
) -> None:
    """Between changes it rises to the peak of the batch; at one, it stays or takes part of the way of the scaling."""

    def peak(batch: int) -> float:
        return SCALES[rule.scaling](batch / (rule.reference_batch or start))

    course, batch, last = Course(rule, EPOCH, start), start, 0.0
    for samples, other in changes:
        ends = course.multiplier(batch)
        assert last * (1 - 1e-12) <= ends <= peak(batch) * (1 + 1e-12)
        course.resize(batch, other)
        last = course.multiplier(other)
        own = sorted((ends, ends * peak(other) / peak(batch)))
        assert own[0] * (1 - 1e-12) <= last <= own[1] * (1 + 1e-12)
        batch = other
        for part in (0.3, 0.7):  # on the way to the next change
            course.advance(round(samples * part), batch)
            assert course.multiplier(batch) >= last * (1 - 1e-12)
            last = course.multiplier(batch)
    course.advance(100 * EPOCH, batch)
    assert course.multiplier(batch) == pytest.approx(peak(batch))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 64)), max_size=6).map(sorted),
    st.floats(0, 3),
    st.sampled_from([LEGW, LearningRate.from_preset("legw"), LearningRate.from_preset("goyal", warmup_epochs=1)]),
)
def test_a_restart_anywhere_changes_nothing(changes: list[tuple[float, int]], stop: float, rule: LearningRate) -> None:
    straight = follow(Course(rule, EPOCH, 8), 8, changes, until=3, step=500)
    course, batch, seen, rates, waiting = Course(rule, EPOCH, 8), 8, 0, [], list(changes)
    while seen < 3 * EPOCH:
        if stop * EPOCH <= seen:
            saved = json.loads(json.dumps(course.state_dict()))
            course = Course(rule, EPOCH, 8)
            course.load_state_dict(saved)
        while waiting and seen >= waiting[0][0] * EPOCH:
            course.resize(batch, waiting[0][1])
            batch = waiting.pop(0)[1]
        rates.append(course.multiplier(batch))
        course.advance(500, batch)
        seen += 500
    assert rates == straight
