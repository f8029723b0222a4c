"""The inner product test and the test of orthogonality, against the papers' sums over single samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.gradients import Estimate, Measurement
from hpc_adabatch.policies import InnerProduct, Progress


def measured(gradients: np.ndarray, sizes: list[int]) -> Measurement:
    """The sums over pieces of these sizes; one sample's gradient a row."""
    mean = gradients.mean(axis=0)
    means = [piece.mean(axis=0) for piece in np.split(gradients, np.cumsum(sizes)[:-1])]
    return Measurement(
        square_sum=sum(b * float(g @ g) for b, g in zip(sizes, means, strict=True)),
        mean_square=float(mean @ mean),
        samples=len(gradients),
        pieces=len(sizes),
        inner_square_sum=sum(b * float(g @ mean) ** 2 for b, g in zip(sizes, means, strict=True)),
    )


def estimate(variance: float, signal: float, along: float, across: float, mean_square: float = 0.0) -> Estimate:
    low = variance / signal if signal > 0 else 1000.0
    return Estimate(
        variance=variance,
        signal=signal,
        mean_square=mean_square or signal,
        inner_variance=along,
        orthogonal_variance=across,
        low=max(0.0, low),
        high=low if signal > 0 else math.inf,
        steps=20.0,
        samples=10_000,
        full=True,
    )


NAMES = ("variance", "signal", "inner_variance", "orthogonal_variance", "mean_square")


def of(measurement: Measurement) -> Estimate:
    return estimate(*(getattr(measurement, name) for name in NAMES))


def progress(found: Estimate | None, now: int = 64) -> Progress:
    return Progress(
        samples_seen=0,
        samples_per_epoch=10_000,
        start_batch=32,
        global_batch=now,
        max_global_batch=10_000,
        measurements=100,
        estimate=found,
    )


@given(st.integers(3, 30), st.integers(2, 8), st.integers(0, 10**6), st.floats(0.1, 2), st.floats(0.5, 10))
def test_raw_is_the_larger_demand_of_the_papers_two_tests(
    n_samples: int, dimensions: int, seed: int, theta: float, nu: float
) -> None:
    """Equations 2.6 and 3.3 from single samples; solved for |S|."""
    gradients = np.random.default_rng(seed).normal(0.5, 1.0, (n_samples, dimensions))
    g = gradients.mean(axis=0)
    along = gradients @ g
    across = gradients - np.outer(along / (g @ g), g)
    first = along.var(ddof=1) / (theta**2 * (g @ g) ** 2)
    second = (across**2).sum() / (n_samples - 1) / (nu**2 * (g @ g))
    found = of(measured(gradients, [1] * n_samples))
    rule = InnerProduct(theta=theta, nu=nu, signal="raw")
    assert rule.wanted(found, progress(found, now=n_samples)) == pytest.approx(max(first, second), rel=1e-6)


POSITIVE = st.floats(1e-2, 1e4)


@given(POSITIVE, POSITIVE, POSITIVE, POSITIVE, st.floats(1.0, 10.0), st.integers(1, 4096))
def test_more_noise_asks_for_more_and_more_signal_for_less(
    variance: float, signal: float, along: float, across: float, more: float, now: int
) -> None:
    for rule in (InnerProduct(), InnerProduct(signal="raw")):

        def wanted(found: Estimate, rule: InnerProduct = rule) -> float:
            return rule.wanted(found, progress(found, now))

        size = wanted(estimate(variance, signal, along, across))
        assert wanted(estimate(variance, signal, more * along, more * across)) >= size * (1 - 1e-12)
        assert wanted(estimate(variance, more * signal, along, across)) <= size * (1 + 1e-12)


def test_each_test_decides_where_it_asks_for_more() -> None:
    rule = InnerProduct(theta=0.5, nu=2.0)
    for along, across, size in ((8.0, 1.0, 8.0), (1.0, 80.0, 10.0)):  # 8 / (0.5 * 2)^2 and 80 / (2^2 * 2)
        found = estimate(100.0, 2.0, along, across)
        assert rule.wanted(found, progress(found)) == pytest.approx(size)


def test_raw_takes_the_noise_in_the_batch_for_signal() -> None:
    found = estimate(640.0, 1.0, 50.0, 300.0)
    raw, debiased = (
        InnerProduct(theta=1.0, signal=kind).wanted(found, progress(found, now=64)) for kind in ("raw", "debiased")
    )
    assert raw == pytest.approx(max(50 / 11**2, 300 / (5.84**2 * 11)))  # 1 + 640 / 64
    assert debiased == pytest.approx(50.0)


def test_the_second_test_is_about_eighty_degrees() -> None:
    assert math.degrees(math.atan(InnerProduct().nu)) == pytest.approx(80, abs=0.5)


@pytest.mark.parametrize("signal", [0.0, -3.0])
def test_a_lost_signal_grows_by_one_step(signal: float) -> None:
    found = estimate(1000.0, signal, 1e4, 10.0)
    assert InnerProduct().wanted(found, progress(found)) == math.inf
    assert InnerProduct(growth=1.5).propose(progress(found)).global_batch == 96
    assert InnerProduct(signal="raw").wanted(found, progress(found, now=64)) < math.inf  # 1000 / 64 is still there


def test_inner_products_are_asked_for() -> None:
    assert InnerProduct.measures
    assert InnerProduct.inner_products


def test_a_small_batch_asks_for_more_because_of_the_noise_of_its_own_mean() -> None:
    """The variance along the true gradient of length 1 is 1; along the mean of B samples tr(Sigma^2) / B = 20 / B more.
    It holds for debiased too: only |g|^4 has its noise taken out."""
    random, wants = np.random.default_rng(0), []
    for batch in (8, 64):
        draws = random.normal(math.sqrt(1 / 20), 1.0, (2000, batch, 20))
        steps = [measured(gradients, [batch // 4] * 4) for gradients in draws]
        mean = estimate(*(float(np.mean([getattr(step, name) for step in steps])) for name in NAMES))
        wants.append(InnerProduct().wanted(mean, progress(mean, batch)))
    assert wants == pytest.approx([(1 + 20 / 8) / 0.81, (1 + 20 / 64) / 0.81], rel=0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [*((field, value) for field in ("theta", "nu") for value in (0.0, -1.0, math.nan)), ("signal", "biased")],
)
def test_bad_parameters_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        InnerProduct(**{field: value})
    assert (caught.value.field, caught.value.given) == (f"policy.{field}", str(value))
