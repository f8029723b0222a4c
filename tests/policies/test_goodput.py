"""Goodput: the time of a step is learnt from the batches timed, and the batch goes where progress a second is most."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hpc_adabatch.batches.micro_batch import even
from hpc_adabatch.errors import InputError
from hpc_adabatch.gradients import Estimate
from hpc_adabatch.policies import Goodput, Progress
from hpc_adabatch.policies.goodput import CANDIDATES, StepTime, efficiency


def estimate(noise_scale: float) -> Estimate:
    signal = 1.0 if noise_scale < math.inf else -1.0
    return Estimate(
        variance=min(noise_scale, 1e9),
        signal=signal,
        mean_square=1.0,
        low=noise_scale,
        high=noise_scale,
        steps=20.0,
        samples=10_000,
        full=True,
    )


def halves(timed: Mapping[int, float]) -> dict[int, float]:
    """Half of each time, as that of the passes."""
    return {batch: seconds / 2 for batch, seconds in timed.items()}


def progress(
    now: int, timed: Mapping[int, float], noise_scale: float = 1e4, *, measurements: int = 100, **how: Any
) -> Progress:
    return Progress(
        **{"max_global_batch": 10_000, "start_batch": 16, "pass_seconds": halves(timed), **how},
        samples_seen=0,
        samples_per_epoch=10_000,
        global_batch=now,
        step_seconds=timed,
        measurements=measurements,
        estimate=estimate(noise_scale),
    )


def wanted(now: int, timed: Mapping[int, float], noise_scale: float = 1e4, *, power: float = 1.0, **how: Any) -> float:
    at = progress(now, timed, noise_scale, **how)
    assert at.estimate is not None
    return Goodput(shrink=False, power=power).wanted(at.estimate, at)


def parts(batch: int, n_ranks: int, micro: int | None) -> tuple[int, int, int]:
    """1, passes and samples of the fullest rank, where all passes are as long as its longest."""
    share = math.ceil(batch / n_ranks)
    passes = math.ceil(share / (micro or share))
    return 1, passes, passes * math.ceil(share / passes)


COST = st.floats(0.0, 1.0).map(lambda cost: round(cost, 3))
SOME = st.lists(st.integers(1, 2000), min_size=3, max_size=12, unique=True)


@settings(max_examples=60)
@given(SOME, st.integers(1, 9), st.integers(1, 64), COST, COST, COST, st.floats(0, 1), st.integers(1, 4000))
def test_noiseless_times_of_three_batches_tell_all_others(
    batches: list[int], n_ranks: int, micro: int, a: float, b: float, c: float, part: float, other: int
) -> None:
    """Whatever part of the samples' time passes while the passes are awaited, as on a GPU."""
    rows = np.array([parts(batch, n_ranks, micro) for batch in batches], dtype=float)
    costs = np.array([a, b, c])
    assume(costs.sum() > 0.01)
    seconds = rows @ costs
    assume(np.linalg.svd(rows / seconds[:, None], compute_uv=False)[-1] > 1e-3)  # they can be told apart
    passes = rows @ np.array([0, b, part * c])
    timed, of_passes = (dict(zip(batches, found.tolist(), strict=True)) for found in (seconds, passes))
    model = StepTime(timed, of_passes, n_ranks, micro)
    assert model(other) == pytest.approx(float(parts(other, n_ranks, micro) @ costs), rel=1e-5)


@settings(max_examples=60)
@given(st.integers(1, 9), COST, COST, st.integers(1, 4000))
def test_without_passes_two_batches_tell_all_others(n_ranks: int, a: float, c: float, other: int) -> None:
    assume(a + c > 0.01)
    of_passes = {batch: c * math.ceil(batch / n_ranks) for batch in (32, 320)}
    model = StepTime({batch: a + seconds for batch, seconds in of_passes.items()}, of_passes, n_ranks, None)
    assert model(other) == pytest.approx(a + c * math.ceil(other / n_ranks), rel=1e-5)


@settings(max_examples=60)
@given(
    st.dictionaries(st.integers(1, 2000), st.floats(1e-3, 10), min_size=1, max_size=8),
    st.integers(1, 9),
    st.none() | st.integers(1, 64),
    st.lists(st.integers(1, 4000), min_size=2, max_size=6),
)
def test_whatever_was_timed_is_kept_and_larger_steps_are_never_modelled_as_shorter(
    timed: dict[int, float], n_ranks: int, micro: int | None, others: list[int]
) -> None:
    model = StepTime(timed, halves(timed), n_ranks, micro)
    assert all(model(batch) == seconds for batch, seconds in timed.items())
    ordered = sorted(set(others) - set(timed), key=lambda batch: parts(batch, n_ranks, micro))
    times = [model(batch) for batch in ordered if parts(batch, n_ranks, micro)]
    assert all(seconds > 0 for seconds in times)
    for (one, first), (two, second) in pairwise(zip(ordered, times, strict=True)):
        if all(x <= y for x, y in zip(parts(one, n_ranks, micro), parts(two, n_ranks, micro), strict=True)):
            assert first <= second * (1 + 1e-12)


def test_of_one_batch_the_time_outside_of_the_passes_is_taken_to_be_fixed() -> None:
    model = StepTime({64: 2.0}, {64: 1.0}, 4, None)
    assert [model(batch) for batch in (32, 64, 128, 640)] == pytest.approx([1.5, 2.0, 3.0, 11.0])
    model = StepTime({64: 2.0}, {64: 0.2}, 4, None)
    assert [model(batch) for batch in (32, 64, 128, 640)] == pytest.approx([1.9, 2.0, 2.2, 3.8])


def test_the_sum_over_ranks_is_not_paid_for_by_each_pass() -> None:
    """Bug story: batches of one pass cannot tell a pass from a step, and all of it was taken for the pass's.

    Over a slow link 512 in one pass was thought to be the best, as two passes would take twice as long.
    """
    sum_s, sample_s = 0.135, 0.0003
    of_passes = {batch: batch / 4 * sample_s for batch in (128, 256, 512)}
    timed = {batch: sum_s + seconds for batch, seconds in of_passes.items()}
    assert StepTime(timed, of_passes, 4, 128)(1024) == pytest.approx(sum_s + 256 * sample_s)
    assert wanted(512, timed, 1000.0, pass_seconds=of_passes, n_ranks=4, max_micro_batch=128) == 1024


def test_a_step_that_waits_for_its_sum_is_left_for_a_larger_one_though_noise_is_little() -> None:
    """Bug story: half of a step was taken to be fixed, and a batch of 128 was never left over a slow link."""
    slow, fast = ({"timed": {128: 0.135}, "pass_seconds": {128: seconds}} for seconds in (0.01, 0.12))
    assert wanted(128, noise_scale=200.0, start_batch=128, **slow) == 256
    assert wanted(128, noise_scale=200.0, start_batch=128, **fast) <= 128


def test_it_does_not_wait_for_a_whole_window_but_for_ten_measurements() -> None:
    at = progress(64, {64: 1.0}, measurements=9)
    assert at.estimate is not None
    few = replace(at.estimate, full=False)
    assert Goodput().propose(replace(at, estimate=few)).global_batch == 64
    assert Goodput().propose(replace(at, estimate=few, measurements=10)).global_batch == 128
    unsure = replace(few, low=0.0, high=math.inf)  # 64 is what the lower end wants
    assert Goodput().propose(replace(at, estimate=unsure, measurements=10)).global_batch == 64


def test_efficiency_is_equation_7() -> None:
    assert efficiency(16, 100.0, 16) == 1.0
    assert efficiency(84, 100.0, 16) == pytest.approx(116 / 184)
    assert efficiency(10**6, math.inf, 16) == 1.0
    assert efficiency(32, 0.0, 16) == 0.5


@settings(max_examples=60)
@given(
    st.integers(2, 200),
    st.dictionaries(st.integers(2, 400), st.floats(0.1, 10), max_size=5),
    st.floats(0.1, 10),
    st.floats(0.1, 1e6),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_the_batch_wanted_has_the_most_progress_a_second_of_all_in_reach(
    now: int, timed: dict[int, float], seconds: float, noise_scale: float, power: float
) -> None:
    """Against a look at every candidate: the sizes in steps of 6 % and those that were timed."""
    timed = {**timed, now: seconds}
    model = StepTime(timed, halves(timed), 1, None)

    def goodput(batch: int) -> float:
        return batch / model(batch) * ((noise_scale + 16) / (noise_scale + batch)) ** power

    chosen = wanted(now, timed, noise_scale, power=power)
    assert now / 2 - 1 <= chosen <= 2 * now
    slower = [b for b in timed if b / timed[b] < now / seconds]
    above = min((b for b in slower if b > now), default=10_000)
    below = max((b for b in slower if b < now), default=0)
    steps = {even(float(size), 1, None, least=1, most=10_000) for size in np.geomspace(now / 2, now * 2, CANDIDATES)}
    allowed = [b for b in steps | {b for b in timed if now / 2 <= b <= 2 * now} if below < b < above]
    faster = [b for b in timed if b / timed[b] > now / seconds]
    if any(b < now for b in faster):  # samples cost more here than they did below: only what was timed is tried above
        allowed = [b for b in allowed if b <= now or b in faster]
    best = max(goodput(batch) for batch in allowed)
    assert goodput(round(chosen)) >= best * (1 - 1e-9) or chosen == now
    assert goodput(round(chosen)) >= goodput(now)
    assert goodput(now) * 1.05 >= best * (1 - 1e-9) or chosen != now


@settings(max_examples=100)
@given(
    st.integers(4, 200),
    st.dictionaries(st.integers(2, 400), st.floats(0.1, 10), max_size=5),
    st.floats(0.1, 10),
    st.lists(st.floats(0.1, 1e6), min_size=2, max_size=2).map(sorted),
)
def test_noise_never_asks_for_less_and_a_slower_batch_that_was_timed_is_never_wanted(
    now: int, timed: dict[int, float], seconds: float, scales: list[float]
) -> None:
    timed = {**timed, now: seconds}
    less, more = (wanted(now, timed, noise_scale, power=0.5) for noise_scale in scales)
    assert less <= more
    slower = [batch for batch in timed if batch / timed[batch] < now / seconds]
    for chosen in (less, more, wanted(now, timed, math.inf, power=0.5)):
        assert not any(min(now, chosen) <= batch <= max(now, chosen) for batch in slower)  # nor any beyond it


def test_a_smaller_batch_that_was_timed_as_slower_is_not_wanted_however_well_it_learns() -> None:
    """53 samples a second against 64, each worth twice as much: progress alone would choose it."""
    timed = {32: 0.6, 64: 1.0}
    assert 32 / 0.6 * efficiency(32, 1.0, 16) > 1.5 * 64 * efficiency(64, 1.0, 16)
    assert 32 < wanted(64, timed, 1.0) < 64
    assert wanted(64, {32: 0.4, 64: 1.0}, 1.0) == 32  # 80 a second


def test_of_batches_of_nearly_equal_goodput_that_of_more_samples_is_wanted() -> None:
    """Bug story: over 1 Gbit/s it stayed at 256, a little ahead by equation 7, and ended a point below 512."""
    timed = {256: 0.05, 512: 0.08}  # by equation 7 the larger one makes 11 % less progress a second
    assert 512 / 0.08 * efficiency(512, 384.0, 128) < 256 / 0.05 * efficiency(256, 384.0, 128)
    assert wanted(256, timed, 384.0, start_batch=128) == 256
    assert wanted(512, timed, 384.0, start_batch=128) < 280
    assert wanted(256, timed, 384.0, start_batch=128, power=0.5) > 400
    assert wanted(512, timed, 384.0, start_batch=128, power=0.5) == 512


def test_nothing_moves_before_the_present_batch_was_timed() -> None:
    assert wanted(64, {}) == 64
    assert wanted(64, {32: 1.0, 128: 1.0}) == 64


def run(seconds: Callable[[int], float], noise_scale: float, *, start: int = 16, **rule: Any) -> list[int]:
    """Batches of thirty decisions, every batch timed while it is used."""
    policy, sizes, timed = Goodput(**{"dwell": 1, "shrink": False} | rule), [start], {}
    for measurements in range(100, 130):
        timed[sizes[-1]] = seconds(sizes[-1])
        at = progress(sizes[-1], timed, noise_scale, measurements=measurements, max_global_batch=1000)
        sizes.append(policy.propose(at).global_batch)
    return sizes


@pytest.mark.parametrize("noise_scale", [1e5, math.inf])
def test_a_step_that_costs_the_same_grows_to_the_maximum_by_bounded_steps(noise_scale: float) -> None:
    assert run(lambda _: 1.0, noise_scale)[:8] == [16, 32, 64, 128, 256, 512, 1000, 1000]


def test_a_step_that_costs_the_same_grows_less_the_less_noise_there_is() -> None:
    """M (phi + M0) / (phi + M) saturates; where half the time may be saved at most, a doubling needs phi > 2.7 M."""
    last = [run(lambda _: 1.0, noise_scale)[-1] for noise_scale in (2.0, 60.0, 1e4)]
    assert last == [16, pytest.approx(980, abs=20), 1000]


@pytest.mark.parametrize("noise_scale", [10.0, 1e4])
def test_a_step_in_proportion_to_its_samples_is_tried_once_and_then_stays(noise_scale: float) -> None:
    sizes = run(lambda batch: batch / 100, noise_scale, start=64)
    assert sizes[1] <= 128
    assert len(set(sizes[1:])) == 1
    assert wanted(64, {32: 0.32, 64: 0.64, 128: 1.28}, noise_scale) <= 64


def test_with_shrink_it_returns_from_what_was_no_faster() -> None:
    sizes = run(lambda batch: batch / 100, 200.0, start=64, shrink=True)
    assert max(sizes) > 64
    assert sizes[-1] < 64


def test_a_batch_that_spills_is_left_alone_once_it_was_timed() -> None:
    """Samples that cost four times as much above 256. Bug story: it ended at 1000, where 256 was out of reach."""
    sizes = run(lambda batch: (1.0 + batch / 100) * (1 if batch <= 256 else 4), 1e6, shrink=True)
    assert sizes[-1] <= 256


def test_rounding_does_not_choose_a_slower_batch_that_was_timed() -> None:
    """Bug story: wanted 60 of 8 ranks became 64."""
    timed = {8: 0.97, 16: 0.98, 24: 0.99, 32: 1.0, 64: 2.1}
    size = Goodput().propose(progress(32, timed, 1e5, n_ranks=8)).global_batch
    assert size not in timed or size / timed[size] >= 32 / 1.0


def test_it_starts_from_one_sample() -> None:
    """Bug story: half a batch of one sample was rounded to no samples."""
    assert wanted(1, {1: 1.0}) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("growth", 1.0), ("tolerance", math.nan), ("dwell", 0), ("window", 0), ("power", -0.1), ("power", 1.1)],
)
def test_bad_parameters_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        Goodput(**{field: value})
    assert (caught.value.field, caught.value.given) == (f"policy.{field}", str(value))
