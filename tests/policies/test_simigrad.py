"""SimiGrad: the batch at which the gradients of two halves have the cosine asked for."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.gradients import Estimate
from hpc_adabatch.policies import Progress, SimiGrad


def estimate(variance: float, signal: float) -> Estimate:
    return Estimate(
        variance=variance,
        signal=signal,
        mean_square=signal,
        low=abs(variance / signal) if signal else 1000.0,
        high=variance / signal if signal > 0 else math.inf,
        steps=20.0,
        samples=10_000,
        full=True,
    )


def progress(found: Estimate, now: int = 100, measurements: int = 100) -> Progress:
    return Progress(
        samples_seen=0,
        samples_per_epoch=10_000,
        start_batch=32,
        global_batch=now,
        max_global_batch=10_000,
        measurements=measurements,
        estimate=found,
    )


def wanted(similarity: float, variance: float, signal: float) -> float:
    found = estimate(variance, signal)
    return SimiGrad(similarity=similarity).wanted(found, progress(found))


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8])
def test_halves_of_the_batch_wanted_are_as_similar_as_asked(similarity: float) -> None:
    """20,000 draws of the mean gradients of two halves: <g_A, g_B> over |g_A|^2, as averages."""
    random, dimensions, variance, signal = np.random.default_rng(0), 10, 70.0, 1.5
    batch = wanted(similarity, variance, signal)
    deviation = math.sqrt(variance / dimensions / (batch / 2))
    a, b = random.normal(math.sqrt(signal / dimensions), deviation, (2, 20_000, dimensions))
    assert (a * b).sum() / ((a * a).sum() + (b * b).sum()) * 2 == pytest.approx(similarity, rel=0.03)


@given(st.floats(0.01, 0.99), st.floats(1e-3, 1e5), st.floats(1e-3, 1e3), st.floats(1, 10))
def test_the_cosine_at_the_batch_wanted_is_the_one_asked_for(
    similarity: float, variance: float, signal: float, more: float
) -> None:
    size = wanted(similarity, variance, signal)
    assert signal / (signal + 2 * variance / size) == pytest.approx(similarity)
    assert wanted(similarity, more * variance, signal) >= size
    assert wanted(similarity, variance, more * signal) <= size
    assert wanted(similarity + (1 - similarity) * 0.5, variance, signal) > size


@pytest.mark.parametrize("signal", [0.0, -2.0])
def test_a_lost_signal_grows_by_a_tenth(signal: float) -> None:
    found = estimate(1000.0, signal)
    assert SimiGrad().wanted(found, progress(found)) == math.inf
    assert SimiGrad().propose(progress(found)).global_batch == 110


@pytest.mark.parametrize(("now", "last"), [(40, 200), (900, 200)])
def test_it_walks_in_tenths_and_then_stays(now: int, last: int) -> None:
    """Similarity 1/2 wants twice the noise scale: 200."""
    rule, found, sizes = SimiGrad(similarity=0.5), estimate(100.0, 1.0), [now]
    for measurements in range(100, 140):
        sizes.append(rule.propose(progress(found, sizes[-1], measurements)).global_batch)
    assert all(max(a, b) / min(a, b) < 1.1 + 1 / min(a, b) for a, b in pairwise(sizes))
    assert sizes[1] == pytest.approx(now * 1.1 if last > now else now / 1.1, abs=1)
    assert len(set(sizes[-10:])) == 1
    assert sizes[-1] == pytest.approx(last, rel=0.05)


@pytest.mark.parametrize(
    ("field", "value"),
    [*(("similarity", value) for value in (0.0, 1.0, -0.5, math.nan)), ("growth", math.nan), ("dwell", 0)],
)
def test_bad_parameters_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        SimiGrad(**{field: value})
    assert (caught.value.field, caught.value.given) == (f"policy.{field}", str(value))


def test_halves_of_a_training_sets_batch_share_no_sample() -> None:
    """40,000 batches of 40 of 100 samples: <g_A, g_B> over |g_A|^2 is the cosine that wants this batch."""
    random = np.random.default_rng(0)
    gradients = random.normal(0.3, 1.0, (100, 3))
    mean, variance = gradients.mean(axis=0), float(gradients.var(axis=0, ddof=1).sum())
    orders = random.random((40_000, 100)).argsort(axis=1)[:, :40]
    a, b = gradients[orders].reshape(-1, 2, 20, 3).mean(axis=2).transpose(1, 0, 2)
    similarity = (a * b).sum() / ((a * a).sum() + (b * b).sum()) * 2
    found = replace(estimate(variance, float(mean @ mean)), population=100)
    assert SimiGrad(similarity=similarity).wanted(found, progress(found)) == pytest.approx(40, rel=0.05)
