"""AdaScale's gain: its limits, its formula, and the learning rate that is made of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch import LearningRate
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.gradients import Estimate
from hpc_adabatch.learning_rate.adascale import gain

SIZE = st.floats(1e-6, 1e6)


@given(SIZE, SIZE, st.floats(0.1, 1e3), st.integers(1, 4096))
def test_it_is_the_papers_ratio_and_lies_between_one_and_s(variance: float, signal: float, s: float, b0: int) -> None:
    """(sigma^2 + mu^2) / (sigma^2 / S + mu^2) with sigma^2 of one batch of B0."""
    sigma2 = variance / b0
    found = gain(variance, signal, scale=s, reference_batch=b0)
    assert found == pytest.approx((sigma2 + signal) / (sigma2 / s + signal))
    assert min(1.0, s) * (1 - 1e-12) <= found <= max(1.0, s) * (1 + 1e-12)


@given(SIZE, SIZE, st.floats(0.1, 1e3), st.floats(1.0, 10.0), st.integers(1, 4096))
def test_more_batch_and_more_noise_gain_more_and_more_signal_less(
    variance: float, signal: float, s: float, more: float, b0: int
) -> None:
    found = gain(variance, signal, scale=s, reference_batch=b0)
    low, high = 1 - 1e-12, 1 + 1e-12
    assert gain(variance, signal, scale=more * s, reference_batch=b0) >= found * low
    assert gain(variance, signal, scale=more * s, reference_batch=b0) <= more * found * high
    if s >= 1:
        assert gain(more * variance, signal, scale=s, reference_batch=b0) >= found * low
        assert gain(variance, more * signal, scale=s, reference_batch=b0) <= found * high


@pytest.mark.parametrize("s", [0.5, 1.0, 2.0, 64.0])
def test_all_noise_gains_s_and_none_gains_one(s: float) -> None:
    assert gain(3.0, 0.0, scale=s, reference_batch=32) == pytest.approx(s)
    assert gain(0.0, 3.0, scale=s, reference_batch=32) == 1.0
    assert gain(0.0, 0.0, scale=s, reference_batch=32) == s
    assert gain(100.0, 2.0, scale=1.0, reference_batch=32) == 1.0


def test_at_the_noise_scale_it_is_worked_by_hand() -> None:
    """Noise scale 96, B0 = 32, S = 3: (3 + 1) / (1 + 1) = 2; an endless batch gains 1 + 96 / 32 = 4."""
    assert gain(96.0, 1.0, scale=3.0, reference_batch=32) == pytest.approx(2.0)
    assert gain(96.0, 1.0, scale=1e12, reference_batch=32) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("variance", "signal", "found"), [(5.0, -1.0, 8.0), (-5.0, 1.0, 1.0), (-5.0, -1.0, 8.0), (-1e-30, 0.0, 8.0)]
)
def test_estimates_below_zero_count_as_none(variance: float, signal: float, found: float) -> None:
    assert gain(variance, signal, scale=8.0, reference_batch=16) == found


def test_one_step_of_the_large_batch_makes_the_progress_of_gain_steps_of_the_small() -> None:
    """The paper's identity, on a line: E[decrease] to first order goes with the rate, noise with rate^2 E|g|^2, and
    gain * E|g_S|^2 = E|g_1|^2 makes the second equal a unit of the first."""
    random, variance, true, b0, s = np.random.default_rng(0), 40.0, np.array([1.0, -0.5]), 8, 5
    signal = float(true @ true)
    small, large = (random.normal(true, math.sqrt(variance / 2 / batch), (100_000, 2)) for batch in (b0, b0 * s))
    r = gain(variance, signal, scale=s, reference_batch=b0)
    assert r * (large**2).sum(axis=1).mean() == pytest.approx((small**2).sum(axis=1).mean(), rel=0.02)


def test_of_a_training_set_the_gain_is_the_ratio_of_what_its_batches_measure() -> None:
    """E|g_1|^2 / E|g_S|^2 without replacement, from the variance and the disjoint signal that rank 0 announces; all of
    200 samples have no noise: the gain is E|g_1|^2 over |grad l|^2."""
    random, b0 = np.random.default_rng(0), 20
    gradients = random.normal(0.5, 1.0, (200, 2))
    mean, variance = gradients.mean(axis=0), float(gradients.var(axis=0, ddof=1).sum())
    signal = float(mean @ mean)
    found = Estimate(
        variance=variance, signal=signal, mean_square=0, low=0, high=1, steps=2, samples=1, full=True, population=200
    )
    order = random.random((20_000, 200)).argsort(axis=1)
    for s in (3, 10):
        one, many = ((gradients[order[:, :b]].mean(axis=1) ** 2).sum(axis=1).mean() for b in (b0, s * b0))
        assert gain(variance, found.disjoint_signal, scale=s, reference_batch=b0) == pytest.approx(one / many, rel=0.01)
    whole = (signal + variance * (1 / b0 - 1 / 200)) / signal
    assert gain(variance, found.disjoint_signal, scale=10, reference_batch=b0) == pytest.approx(whole)


WARM: dict[str, Any] = {"warmup": "fixed", "warmup_epochs": 2.0, "decay": "step", "milestones": (5.0,)}


@given(st.floats(0, 10), st.integers(1, 500), st.integers(1, 500), st.floats(1, 50))
def test_the_multiplier_is_the_gain_times_the_schedule_on_its_clock(
    epochs: float, start: int, now: int, factor: float
) -> None:
    plain, scaled = LearningRate(**WARM), LearningRate(scaling="adascale", **WARM)
    clock = epochs * 1000
    expected = factor * plain.multiplier(clock, 1000, start, now)
    assert scaled.multiplier(clock, 1000, start, now, gain=factor) == pytest.approx(expected)
    assert plain.multiplier(clock, 1000, start, now, gain=factor) == plain.multiplier(clock, 1000, start, now)


@pytest.mark.parametrize("scaling", ["none", "linear", "sqrt", "adascale"])
def test_only_adascale_needs_measurements(scaling: Any) -> None:
    assert LearningRate(scaling=scaling).measures == (scaling == "adascale")


@pytest.mark.parametrize(("reference", "expected"), [(None, 2.0), (32, 3.0), (128, 0.75)])
def test_the_scale_is_over_the_reference_batch_or_the_start(reference: int | None, expected: float) -> None:
    """Variance 1e12 is all noise: the gain is the scale. Start 48, now 96."""
    rule = LearningRate(scaling="adascale", reference_batch=reference)
    assert rule.gain(1e12, 1e-6, start_batch=48, global_batch=96) == pytest.approx(expected)


def rates(steps: int) -> list[float]:
    """Learning rates over base of a run at eight times the reference batch, measured at every third step."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1).double()
    dataset = TensorDataset(torch.randn(400, 3).double(), torch.randn(400, 1).double())
    loop = hab.AdaptiveTraining(
        model,
        torch.optim.SGD(model.parameters(), lr=0.01),
        hab.AdaptiveBatches(dataset, 32, seed=1),
        cluster=SingleProcess(),
        learning_rate=LearningRate(scaling="adascale", reference_batch=4),
        options=hab.LoopOptions(measure_every=3),
    )
    found = []
    for step in loop.epoch(0):
        for inputs, targets in step:
            step.backward(mse_loss(model(inputs), targets))
        step.update()
        found.append(loop.last_rate / 0.01)
        if len(found) == steps:
            break
    return found


def test_a_run_takes_the_measured_gain() -> None:
    found = rates(9)
    assert found[0] == pytest.approx(1.0)
    assert all(1 <= factor <= 8 for factor in found)
    assert all(1 < factor < 8 for factor in found[4:])


def test_until_the_noise_is_known_the_gain_is_one() -> None:
    """Bug story: one measurement has no estimate; it was announced as no variance and no signal, whose gain is S = 8.
    Measured at steps 0 and 3, so known after step 3."""
    assert rates(4) == pytest.approx([1.0] * 4)
