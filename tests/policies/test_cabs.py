"""CABS: learning rate times variance over loss, and where that leads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.gradients import Estimate
from hpc_adabatch.policies import Cabs, Progress


def estimate(variance: float, loss: float, signal: float = 1.0) -> Estimate:
    return Estimate(
        variance=variance,
        signal=signal,
        mean_square=signal,
        loss=loss,
        low=0.0,
        high=math.inf,
        steps=20.0,
        samples=10_000,
        full=True,
    )


def wanted(rule: Cabs, found: Estimate, learning_rate: float, now: int = 64) -> float:
    return rule.wanted(found, progress(found, learning_rate, now))


def progress(found: Estimate, learning_rate: float, now: int = 64) -> Progress:
    return Progress(
        samples_seen=0,
        samples_per_epoch=10_000,
        start_batch=32,
        global_batch=now,
        max_global_batch=1000,
        learning_rate=learning_rate,
        measurements=100,
        estimate=found,
    )


@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 10**6), st.floats(1e-3, 10), st.floats(1e-2, 10))
def test_it_is_the_authors_rule(n_samples: int, parameters: int, seed: int, rate: float, loss: float) -> None:
    """m = alpha * xi / F, xi the gradient's variance summed over coordinates."""
    gradients = np.random.default_rng(seed).normal(0.3, 2.0, (n_samples, parameters))
    xi = sum(float(np.var(gradients[:, k], ddof=1)) for k in range(parameters))
    assert wanted(Cabs(), estimate(xi, loss), rate) == pytest.approx(rate * xi / loss)
    assert wanted(Cabs(constant=3.0, infimum=loss / 2), estimate(xi, loss), rate) == pytest.approx(6 * rate * xi / loss)


@given(st.floats(1e-2, 1e4), st.floats(1e-2, 10), st.floats(1e-4, 1), st.floats(1, 10))
def test_noise_and_rate_raise_it_and_loss_lowers_it(variance: float, loss: float, rate: float, more: float) -> None:
    size = wanted(Cabs(), estimate(variance, loss), rate)
    assert wanted(Cabs(), estimate(more * variance, loss), rate) == pytest.approx(more * size)
    assert wanted(Cabs(), estimate(variance, loss), more * rate) == pytest.approx(more * size)
    assert wanted(Cabs(), estimate(variance, more * loss), rate) == pytest.approx(size / more)


def test_signal_and_present_batch_do_not_matter() -> None:
    sizes = {wanted(Cabs(), estimate(50.0, 0.5, signal), 0.1, now) for signal in (-1.0, 0.0, 9.0) for now in (1, 500)}
    assert sizes == {10.0}


@pytest.mark.parametrize("loss", [0.0, 0.2, -1.0])
def test_a_loss_at_its_infimum_grows_by_one_step(loss: float) -> None:
    found = estimate(50.0, loss)
    size = wanted(Cabs(infimum=0.2), found, 0.1)
    assert 1e6 < size < math.inf
    assert Cabs(infimum=0.2).propose(progress(found, 0.1)).global_batch == 128


def test_a_variance_estimated_as_negative_counts_as_none() -> None:
    found = estimate(-1e-9, 1.0)
    assert wanted(Cabs(), found, 0.1) == 0.0
    assert Cabs(shrink=True).propose(progress(found, 0.1)).global_batch == 32


def test_a_learning_rate_that_falls_takes_the_batch_along_only_with_shrink() -> None:
    found = estimate(1000.0, 1.0)
    assert Cabs(shrink=True).propose(progress(found, 0.05)).global_batch == 50
    assert Cabs(shrink=False).propose(progress(found, 0.05)).global_batch == 64


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("constant", 0.0),
        ("constant", -1.0),
        ("constant", math.nan),
        ("infimum", -0.1),
        ("infimum", math.nan),
        ("growth", math.nan),
    ],
)
def test_bad_parameters_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        Cabs(**{field: value})
    assert (caught.value.field, caught.value.given) == (f"policy.{field}", str(value))
