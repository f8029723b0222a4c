"""Big Batch SGD: the batch in hand grows while its gradient does not stand out of its noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.gradients import Measurement
from hpc_adabatch.policies import BigBatch, Progress


def progress(now: int = 100, n_ranks: int = 1) -> Progress:
    return Progress(
        samples_seen=0,
        samples_per_epoch=10_000,
        start_batch=32,
        global_batch=now,
        max_global_batch=5000,
        n_ranks=n_ranks,
        learning_rate_factor=0.5,
    )


def single(gradients: np.ndarray) -> Measurement:
    """Each sample a piece; one sample's gradient a row."""
    mean = gradients.mean(axis=0)
    n_samples = len(gradients)
    return Measurement(
        square_sum=float((gradients**2).sum()), mean_square=float(mean @ mean), samples=n_samples, pieces=n_samples
    )


def measurement(variance: float, mean_square: float, samples: int) -> Measurement:
    return Measurement(square_sum=variance + samples * mean_square, mean_square=mean_square, samples=samples, pieces=2)


@given(st.integers(2, 60), st.integers(1, 6), st.integers(0, 10**6), st.floats(0.2, 3), st.floats(0, 2))
def test_the_test_is_algorithm_1s(n_samples: int, parameters: int, seed: int, theta: float, true: float) -> None:
    """theta^2 |g_B|^2 > V_B / K from single samples, V_B with K - 1 in its denominator."""
    gradients = np.random.default_rng(seed).normal(true, 1.0, (n_samples, parameters))
    g = gradients.mean(axis=0)
    v = sum(float((row - g) @ (row - g)) for row in gradients) / (n_samples - 1)
    passes = theta**2 * (g @ g) > v / n_samples
    more = BigBatch(theta=theta).extension(single(gradients), progress(n_samples))
    assert (more == 0) == passes
    assert more in (0, max(2, round(n_samples / 10)))


def test_equality_is_not_enough() -> None:
    """while theta^2 |g|^2 <= V / K."""
    assert BigBatch().extension(measurement(64.0, 1.0, 64), progress()) == 6
    assert BigBatch().extension(measurement(63.9, 1.0, 64), progress()) == 0


@pytest.mark.parametrize(
    ("samples", "n_ranks", "growth", "more"),
    [(1000, 1, 0.1, 100), (64, 1, 0.1, 6), (4, 1, 0.1, 2), (32, 8, 0.1, 16), (640, 8, 0.1, 64), (50, 2, 1.0, 50)],
)
def test_a_tenth_is_added_two_samples_a_rank_at_least(samples: int, n_ranks: int, growth: float, more: int) -> None:
    noisy = measurement(1e6, 1.0, samples)
    assert BigBatch(growth=growth).extension(noisy, progress(samples, n_ranks)) == more


@given(st.floats(0, 1e4), st.floats(0, 1e3), st.integers(2, 5000), st.floats(1, 10))
def test_once_passed_less_noise_passes_and_once_failed_more_noise_fails(
    variance: float, mean_square: float, samples: int, more: float
) -> None:
    for rule in (BigBatch(), BigBatch(signal="debiased")):
        if rule.extension(measurement(variance, mean_square, samples), progress()) == 0:
            assert rule.extension(measurement(variance / more, mean_square, samples), progress()) == 0
        else:
            assert rule.extension(measurement(more * variance, mean_square, samples), progress()) > 0


def test_debiased_asks_twice_as_much_at_theta_one() -> None:
    """|g|^2 - V / K > V / K."""
    for mean_square, raw, debiased in ((0.9, 10, 10), (1.5, 0, 10), (2.1, 0, 0)):
        found = measurement(100.0, mean_square, 100)
        assert BigBatch().extension(found, progress()) == raw
        assert BigBatch(signal="debiased").extension(found, progress()) == debiased


def test_a_signal_below_zero_never_passes() -> None:
    lost = measurement(100.0, 0.5, 100)
    assert lost.signal < 0
    assert BigBatch(theta=100.0, signal="debiased").extension(lost, progress()) == 10


def test_extending_until_it_passes_brings_the_batch_to_the_noise_scale() -> None:
    """Variance 300, theta 1/2: V / K = (1 + V / K) / 4 on average, at K = 900; the first that passes ends it."""
    random, batch, rule = np.random.default_rng(0), 20, BigBatch(theta=0.5)
    gradients = random.normal(math.sqrt(1 / 30), math.sqrt(10), (batch, 30))
    while (more := rule.extension(single(gradients), progress(len(gradients)))) > 0:
        assert 0 < more <= max(1, len(gradients) / 10 + 1)
        gradients = np.concatenate([gradients, random.normal(math.sqrt(1 / 30), math.sqrt(10), (more, 30))])
    assert 300 < len(gradients) < 1200


def test_nothing_is_proposed_between_steps() -> None:
    rule = BigBatch()
    proposal = rule.propose(progress(100))
    assert (proposal.global_batch, proposal.learning_rate_factor) == (100, 0.5)
    assert rule.phase(progress(100)) == rule.phase(progress(200))
    assert (rule.measures, rule.extends, rule.foreseeable) == (True, True, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("theta", value) for value in (0.0, -1.0, math.nan)),
        *(("growth", value) for value in (0.0, 1.1, math.nan)),
        ("pieces", 0),
        ("pieces", math.nan),
        ("signal", "biased"),
    ],
)
def test_bad_parameters_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        BigBatch(**{field: value})
    assert (caught.value.field, caught.value.given) == (f"policy.{field}", str(value))


def test_the_whole_training_set_passes_the_debiased_test_and_the_raw_one_is_the_papers() -> None:
    """|g|^2 - V (1/K - 1/N) > V (1/K - 1/N), which is |g|^2 > 0 at K = N; raw: |g|^2 > V / K."""
    for population, debiased in ((100, 0), (200, 0), (10**6, 10)):
        found = Measurement(square_sum=200.0, mean_square=1.1, samples=100, pieces=2, population=population)
        assert found.variance == pytest.approx(90.0)
        assert BigBatch(signal="debiased").extension(found, progress()) == debiased
        assert BigBatch().extension(found, progress()) == 0
    tiny = Measurement(square_sum=200.0, mean_square=0.5, samples=100, pieces=2, population=100)
    assert BigBatch(signal="debiased").extension(tiny, progress()) == 0
    assert BigBatch().extension(tiny, progress()) == 10
