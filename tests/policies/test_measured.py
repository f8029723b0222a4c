"""Rules that follow the gradient wait, move in bounded steps, and never jump where the signal is lost."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.gradients import Estimate
from hpc_adabatch.policies import Cabs, NoiseScale, NormTest, SimiGrad
from hpc_adabatch.policies.measured import Measured

sys.path.insert(0, str(Path(__file__).parent))  # tests/ has no packages
from estimates import estimate, progress


def test_no_decision_before_the_window_is_full() -> None:
    for found in (None, estimate(full=False)):
        assert NoiseScale().propose(progress(64, found)).global_batch == 64


def test_the_batch_goes_to_what_is_wanted_by_bounded_factors() -> None:
    rule, now, sizes = NoiseScale(fraction=0.5, dwell=1), 32, []
    for measurements in range(100, 110):
        now = rule.propose(progress(now, estimate(1000.0), measurements)).global_batch
        sizes.append(now)
    assert sizes[:5] == [64, 128, 256, 500, 500]


def test_a_change_is_followed_by_a_dwell() -> None:
    rule = NoiseScale(dwell=5)
    sizes = [rule.propose(progress(32, estimate(), 100 + number)).global_batch for number in range(7)]
    assert sizes == [64, 32, 32, 32, 32, 64, 32]


def test_small_changes_are_not_made() -> None:
    assert NoiseScale(tolerance=0.05).propose(progress(100, estimate(104.0))).global_batch == 100
    assert NoiseScale(tolerance=0.05).propose(progress(100, estimate(106.0))).global_batch == 106


def test_the_batch_shrinks_only_on_request() -> None:
    assert NoiseScale().propose(progress(400, estimate(250.0))).global_batch == 400
    assert NoiseScale(shrink=True).propose(progress(400, estimate(250.0))).global_batch == 250
    assert NoiseScale(shrink=True).propose(progress(400, estimate(10.0))).global_batch == 200


@pytest.mark.parametrize("kind", [NoiseScale, NormTest])
@pytest.mark.parametrize("signal", [0.0, -0.1])
def test_a_lost_signal_grows_by_one_step_never_to_the_maximum(kind: type[Measured], signal: float) -> None:
    found = Estimate(**{**vars(estimate(signal=signal)), "variance": 40.0, "low": 100.0})
    assert kind().wanted(found, progress(32, found)) == math.inf
    assert kind().propose(progress(32, found)).global_batch == 64


@given(st.floats(1, 1e4), st.floats(0, 1), st.floats(1, 10), st.integers(1, 10_000), st.floats(-1, 1))
def test_the_batch_stays_where_the_interval_holds_it(
    noise_scale: float, below: float, above: float, now: int, signal: float
) -> None:
    """And moves towards the estimate where it does not. A lost signal has no upper end."""
    low, high = below * noise_scale, above * noise_scale if signal > 0 else math.inf
    found = estimate(noise_scale, signal, low=low, high=high)
    size = NoiseScale(shrink=True, tolerance=0.0).propose(progress(now, found)).global_batch
    if 1.001 * low <= now <= 0.999 * high:
        assert size == now
    elif now < 0.999 * low:
        assert now <= size <= 2 * now
    elif now > 1.001 * high:
        assert now / 2 - 1 <= size <= now


def test_an_interval_in_noise_scales_is_one_in_batches() -> None:
    """theta 1/2 wants four times the noise scale: 50 to 200 are 200 to 800 samples."""
    found = estimate(100.0, low=50.0, high=200.0)
    for now, size in ((150, 300), (210, 210), (790, 790), (850, 425)):
        assert NormTest(theta=0.5, shrink=True).propose(progress(now, found)).global_batch == size


def test_the_norm_test_wants_the_batch_that_passes_it() -> None:
    found = estimate(noise_scale=900.0, signal=2.0)
    assert NormTest(theta=0.5).wanted(found, progress(64, found)) == pytest.approx(3600.0)
    raw = NormTest(theta=1.0, signal="raw").wanted(found, progress(64, found))
    assert raw == pytest.approx(1800.0 / (2.0 + 1800.0 / 64))  # the noise in |g_B|^2 passes for signal
    assert raw < 64


@given(
    st.floats(0.1, 1e9),
    st.floats(-10, 10),
    st.integers(1, 5000),
    st.integers(5000, 20_000),
    st.booleans(),
    st.floats(1.06, 8),
)
def test_bounds_hold_for_any_estimate(
    noise_scale: float, signal: float, now: int, maximum: int, shrink: bool, growth: float
) -> None:
    rule = NoiseScale(growth=growth, shrink=shrink)
    size = rule.propose(progress(now, estimate(noise_scale, signal), maximum=maximum)).global_batch
    assert 1 <= size <= maximum
    assert now / growth - 1 <= size <= now * growth + 1
    assert shrink or size >= now


def test_dwell_survives_a_restart() -> None:
    rule, again = NoiseScale(dwell=5), NoiseScale(dwell=5)
    rule.propose(progress(32, estimate(), 100))
    again.load_state_dict(rule.state_dict())
    assert again.propose(progress(64, estimate(), 104)).global_batch == 64
    assert again.propose(progress(64, estimate(), 105)).global_batch == 128


@pytest.mark.parametrize(
    ("rule", "field", "value"),
    [
        (NormTest, "theta", 0.0),
        (NormTest, "theta", -1.0),
        (NormTest, "theta", math.nan),
        (NormTest, "signal", "biased"),
        (NoiseScale, "fraction", 0.0),
        (NoiseScale, "fraction", math.nan),
        (NoiseScale, "growth", 1.0),
        (NoiseScale, "growth", math.inf),
        (NoiseScale, "growth", math.nan),
        (NoiseScale, "dwell", 0),
        (NoiseScale, "dwell", math.nan),
        (NoiseScale, "tolerance", 1.0),
        (NoiseScale, "tolerance", -0.01),
        (NoiseScale, "tolerance", math.nan),
        (NoiseScale, "window", 0),
        (NoiseScale, "window", math.nan),
    ],
)
def test_bad_parameters_are_refused(rule: Any, field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        rule(**{field: value})
    assert (caught.value.field, caught.value.given) == (f"policy.{field}", str(value))


def test_a_window_shorter_than_a_batch_is_refused() -> None:
    with pytest.raises(InputError, match=r"policy\.window"):
        NoiseScale(window=31).window_samples(10_000, 32)
    assert NoiseScale().window_samples(10_000, 32) == 5000


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e3), st.floats(1.0, 10.0), st.floats(0.1, 2.0), st.integers(1, 4096))
def test_the_norm_test_holds_at_the_batch_wanted_and_fails_below(
    variance: float, signal: float, more: float, theta: float, now: int
) -> None:
    """Var / |S| <= theta^2 |g|^2, and more noise or less signal never asks for less."""
    found = Estimate(
        variance=variance, signal=signal, mean_square=signal, low=0.0, high=math.inf, steps=20.0, samples=1, full=True
    )
    for signal_of, seen in (("debiased", signal), ("raw", signal + variance / now)):
        rule = NormTest(theta=theta, signal=signal_of)  # type: ignore[arg-type]
        size = rule.wanted(found, progress(now, found))
        assert variance / (size * 1.0001) <= theta**2 * seen < variance / (size * 0.9999)
        noisier = Estimate(**{**vars(found), "variance": more * variance})
        clearer = Estimate(**{**vars(found), "signal": more * signal})
        assert rule.wanted(clearer, progress(now, clearer)) <= size * (1 + 1e-12)
        assert rule.wanted(noisier, progress(now, noisier)) >= size * (1 - 1e-12)


@given(
    st.floats(1, 1e5),
    st.integers(1, 300),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(1, 16),
    st.none() | st.integers(1, 64),
    st.floats(1.2, 4),
    st.booleans(),
)
def test_limits_and_growth_hold_whatever_ranks_and_passes_carry(
    noise_scale: float,
    least: int,
    to_now: int,
    to_most: int,
    n_ranks: int,
    micro: int | None,
    growth: float,
    shrink: bool,
) -> None:
    now, most = least + to_now, least + to_now + to_most
    how: dict[str, Any] = {"min_global_batch": least, "n_ranks": n_ranks, "max_micro_batch": micro, "maximum": most}
    size = NoiseScale(growth=growth, shrink=shrink).propose(progress(now, estimate(noise_scale), **how)).global_batch
    share = -(-round(now * growth) // n_ranks)
    unit = n_ranks * (1 if micro is None else -(-share // micro))
    assert least <= size <= most
    assert size < now * growth + unit


@pytest.mark.parametrize(
    ("wanted", "size"), [(150.0, 152), (145.0, 144), (95.0, 96), (90.0, 88), (123.0, 120), (127.0, 128)]
)
def test_changes_are_rounded_to_what_ranks_carry(wanted: float, size: int) -> None:
    rule = NoiseScale(shrink=True)
    assert rule.propose(progress(120, estimate(wanted), n_ranks=8)).global_batch == size


def test_a_micro_batch_that_fills_up_rounds_to_equal_passes() -> None:
    found = NoiseScale().propose(progress(64, estimate(105.0), n_ranks=4, max_micro_batch=10))
    assert found.global_batch == 108  # share 27 as 3 passes of 9; 105 would be 27, 26, 26, 26


@pytest.mark.parametrize(
    ("now", "maximum", "how"), [(100, 120, {"n_ranks": 64}), (320, 340, {"n_ranks": 8, "max_micro_batch": 4})]
)
def test_rounding_never_makes_the_batch_smaller_unasked(now: int, maximum: int, how: dict[str, Any]) -> None:
    """Bug story: at the maximum the even batch below the present one was taken."""
    assert NoiseScale(shrink=False).propose(progress(now, estimate(1000.0), maximum=maximum, **how)).global_batch >= now


def test_a_tenth_of_a_small_batch_is_one_sample_at_least() -> None:
    """SimiGrad's authors grow to max(B + 1, 1.1 B). Bug story: 4.4 was rounded to 4 for ever."""
    now = 4
    for measurements in range(100, 110):
        now = SimiGrad().propose(progress(now, estimate(1000.0), measurements)).global_batch
    assert now >= 14


def test_a_growth_within_the_tolerance_is_refused() -> None:
    """Every step that it allows would be too small to be made."""
    with pytest.raises(InputError, match=r"policy\.tolerance: given 0\.05"):
        NoiseScale(growth=1.03, tolerance=0.05)
    assert NoiseScale(growth=1.06, tolerance=0.05).propose(progress(500, estimate(1000.0))).global_batch == 530


def test_a_growth_of_just_the_tolerance_is_refused() -> None:
    """Bug story: 1.05 - 1 is above 0.05 in binary, and 5 % of 320 are 16."""
    with pytest.raises(InputError, match=r"policy\.tolerance: given 0\.05"):
        NoiseScale(growth=1.05, tolerance=0.05)


@pytest.mark.parametrize(("wanted", "factor"), [(1000.0, 1.0), (1500.0, 1 / 1.5), (2000.0, 0.5), (8000.0, 0.5)])
def test_at_the_maximum_the_learning_rate_takes_the_rest(wanted: float, factor: float) -> None:
    """maximum / wanted, no further than ``growth`` in one change."""
    found = NoiseScale(lower_lr=True).propose(progress(1000, estimate(wanted), maximum=1000))
    assert found.global_batch == 1000
    assert found.learning_rate_factor == pytest.approx(factor)
    alone = NoiseScale().propose(progress(1000, estimate(wanted), maximum=1000))
    assert (alone.global_batch, alone.learning_rate_factor) == (1000, 1.0)


def test_the_learning_rate_falls_by_bounded_factors_and_comes_back() -> None:
    rule, now, factor, seen = NoiseScale(lower_lr=True, shrink=True, dwell=1), 400, 1.0, []
    for measurements, wanted in enumerate([8000.0] * 5 + [300.0] * 5, start=100):
        found = rule.propose(progress(now, estimate(wanted), measurements, maximum=1000, learning_rate_factor=factor))
        now, factor = found.global_batch, found.learning_rate_factor
        seen.append((now, factor))
    falling = [(800, 1.0), (1000, 0.625), (1000, 0.3125), (1000, 0.15625), (1000, 0.125)]
    rising = [(1000, 0.25), (1000, 0.5), (1000, 1.0), (500, 1.0), (300, 1.0)]
    assert seen == falling + rising


def test_without_shrink_the_learning_rate_does_not_come_back() -> None:
    found = NoiseScale(lower_lr=True).propose(progress(1000, estimate(10.0), maximum=1000, learning_rate_factor=0.25))
    assert (found.global_batch, found.learning_rate_factor) == (1000, 0.25)


@given(
    st.lists(st.floats(1, 1e6), min_size=1, max_size=12),
    st.integers(20, 1000),
    st.booleans(),
    st.floats(1.1, 4.0),
    st.sampled_from([1, 3, 8, 64]),
)
def test_batch_over_learning_rate_never_jumps_by_more_than_growth(
    wants: list[float], maximum: int, shrink: bool, growth: float, n_ranks: int
) -> None:
    """But for what ranks cannot carry."""
    rule, now, factor = NoiseScale(lower_lr=True, shrink=shrink, growth=growth, dwell=1), 20, 1.0
    most = maximum // n_ranks * n_ranks or maximum  # that ranks can carry; the first batch, 20, may lie above
    how: dict[str, Any] = {"maximum": maximum, "n_ranks": n_ranks}
    for measurements, wanted in enumerate(wants, start=100):
        before = now / factor
        found = rule.propose(progress(now, estimate(wanted), measurements, learning_rate_factor=factor, **how))
        now, factor = found.global_batch, found.learning_rate_factor
        assert 0 < factor <= 1
        assert factor == 1 or now >= most
        assert before / growth - n_ranks <= now / factor <= before * growth + n_ranks
        assert shrink or now / factor >= before * (1 - 1e-12)


def test_what_ranks_cannot_carry_is_in_the_learning_rate_too() -> None:
    """Bug story: the factor was maximum / wanted, 100 / 128, at a batch of 64."""
    found = NoiseScale(lower_lr=True).propose(progress(64, estimate(1000.0), maximum=100, n_ranks=64))
    assert found.global_batch / found.learning_rate_factor == pytest.approx(128)


def test_cabs_with_a_lowered_learning_rate_settles() -> None:
    """Bug story: it wanted the batch for the learning rate that it had lowered itself, and swung between 2/3 and 1."""
    rule, factor, seen = Cabs(lower_lr=True, shrink=True, dwell=1), 1.0, []
    found = Estimate(**{**vars(estimate(150.0, signal=1.0)), "loss": 1.0})
    for measurements in range(100, 120):
        at = progress(100, found, measurements, maximum=100, learning_rate=factor, learning_rate_factor=factor)
        factor = rule.propose(at).learning_rate_factor
        seen.append(factor)
    assert seen == pytest.approx([2 / 3] * 20)


def noise_of_batch(batch: float, found: Estimate, population: int) -> float:
    """E|g - grad l|^2 of a batch without replacement, as textbooks have it: sigma^2 / B (N - B) / (N - 1)."""
    sigma2 = found.variance * (population - 1) / population
    return sigma2 / batch * (population - batch) / (population - 1)


@given(st.floats(0.1, 1e6), st.integers(2, 10**5), st.floats(0.1, 4))
def test_of_a_training_set_no_rule_asks_for_more_than_all(noise_scale: float, population: int, factor: float) -> None:
    """The batch wanted has the noise that the rule names, drawn without replacement; all samples have none."""
    found = estimate(noise_scale, population=population)
    at = progress(64, found)
    half = NoiseScale(fraction=factor).wanted(found, at)
    passing = NormTest(theta=factor).wanted(found, at)
    assert max(half, passing) <= population * (1 + 1e-12)
    assert noise_of_batch(half, found, population) == pytest.approx(found.signal / factor, rel=1e-6)
    assert noise_of_batch(passing, found, population) == pytest.approx(factor**2 * found.signal, rel=1e-6)
    lost = estimate(noise_scale, signal=-0.1, population=population)
    for rule in (NoiseScale(fraction=factor), NormTest(theta=factor)):
        assert rule.wanted(lost, progress(64, lost)) == pytest.approx(population)
