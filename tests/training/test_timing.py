"""Medians of the last steps of each batch, on a clock that the test turns."""

from __future__ import annotations

import statistics
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.training import timing
from hpc_adabatch.training.timing import FEWEST, REMEMBERED, StepTimes


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def perf_counter(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=found.perf_counter))
    return found


def step(times: StepTimes, clock: Clock, global_batch: int, seconds: float) -> None:
    times.begin()
    clock.now_s += seconds
    times.end(global_batch)


def test_a_batch_is_known_after_enough_steps(clock: Clock) -> None:
    times = StepTimes()
    assert (times.medians(), times.latest()) == ({}, None)
    for number in range(FEWEST):
        assert (times.medians(), times.latest()) == ({}, None)
        step(times, clock, 64, 2.0 + number)
    assert times.medians() == {64: pytest.approx(3.0)}
    assert times.latest() == pytest.approx(3.0)


def test_one_slow_step_does_not_count(clock: Clock) -> None:
    times = StepTimes()
    for seconds in (1.0, 1.0, 60.0, 1.0):
        step(times, clock, 64, seconds)
    assert times.latest() == pytest.approx(1.0)


def test_the_latest_batch_is_unknown_until_it_took_enough_steps(clock: Clock) -> None:
    times = StepTimes()
    for batch, seconds in [(64, 1.0)] * 3 + [(128, 1.5)] * 2:
        step(times, clock, batch, seconds)
    assert times.medians() == {64: pytest.approx(1.0)}
    assert times.latest() is None
    step(times, clock, 64, 1.0)
    assert times.latest() == pytest.approx(1.0)
    step(times, clock, 128, 1.5)
    assert times.latest() == pytest.approx(1.5)


def test_old_steps_are_forgotten(clock: Clock) -> None:
    times = StepTimes()
    for seconds in [9.0] * 100 + [1.0] * (REMEMBERED // 2 + 1):
        step(times, clock, 64, seconds)
    assert times.latest() == pytest.approx(1.0)


def test_the_passes_are_what_comes_before_the_sum(clock: Clock) -> None:
    times = StepTimes()
    for number in range(FEWEST):
        times.begin()
        clock.now_s += 1.0 + number
        times.summing()
        clock.now_s += 5.0
        times.end(64)
    assert times.pass_medians() == {64: pytest.approx(2.0)}
    assert times.medians() == {64: pytest.approx(7.0)}


def test_time_between_steps_does_not_count(clock: Clock) -> None:
    times = StepTimes()
    for _ in range(FEWEST):
        step(times, clock, 64, 0.5)
        clock.now_s += 100.0
    assert times.latest() == pytest.approx(0.5)


def test_a_step_that_is_not_ended_does_not_count(clock: Clock) -> None:
    times = StepTimes()
    for _ in range(FEWEST):
        times.begin()
        clock.now_s += 7.0
        step(times, clock, 64, 0.5)
    assert times.medians() == {64: pytest.approx(0.5)}


@given(st.lists(st.tuples(st.sampled_from([16, 32, 48]), st.integers(1, 1000)), max_size=80))
def test_medians_are_those_of_the_last_steps_of_each_batch(steps: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(timing, "time", SimpleNamespace(perf_counter=clock.perf_counter))
        times = StepTimes()
        for batch, seconds in steps:
            step(times, clock, batch, float(seconds))
    expected = {}
    for batch in (16, 32, 48):
        own = [seconds for of, seconds in steps if of == batch][-REMEMBERED:]
        if len(own) >= FEWEST:
            expected[batch] = statistics.median(own)
    assert times.medians() == pytest.approx(expected)
    assert times.latest() == (expected.get(steps[-1][0]) if steps else None)
