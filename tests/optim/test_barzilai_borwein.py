"""The step size from the curvature along a step: exact on quadratics, less the noise while the batch is a part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.optim.barzilai_borwein import BarzilaiBorwein


def test_rise_would_do_nothing_and_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        BarzilaiBorwein(1.0, rise=2.0)
    assert str(caught.value).startswith("rise: given 2.0; allowed: 1, since the curvature sets each first try")


def learnt(alpha: float = 0.5, **how: Any) -> float:
    """The step size after one step whose curvature is 4, on all of 100 samples where nothing else is said."""
    rule = BarzilaiBorwein(alpha)
    given_ = {
        "change": 4.0,
        "moved": 1.0,
        "variance": 0.0,
        "mean_square": 1.0,
        "samples": 100,
        "samples_per_epoch": 100,
    }
    rule.learn(**{**given_, **how})
    return rule.alpha


@given(
    st.lists(st.floats(1e-2, 1e2), min_size=1, max_size=5), st.floats(1e-4, 10), st.floats(0, 1e4), st.integers(0, 999)
)
def test_with_all_samples_it_is_one_over_the_curvature_along_the_step(
    curvatures: list[float], alpha: float, variance: float, seed: int
) -> None:
    """<x' - x, H (x' - x)> / |x' - x|^2 of a quadratic with Hessian H; the noise plays no part."""
    hessian = np.diag(curvatures)
    x = np.random.default_rng(seed).normal(0, 1, len(curvatures))
    g = hessian @ x
    step = -alpha * g
    rule = BarzilaiBorwein(alpha)
    rule.learn(
        change=float(step @ (hessian @ (x + step) - g)),
        moved=float(step @ step),
        variance=variance,
        mean_square=float(g @ g),
        samples=700,
        samples_per_epoch=700,
    )
    along = float(g @ hessian @ g) / float(g @ g)
    assert rule.alpha == pytest.approx(1 / along, rel=1e-6)
    assert 1 / max(curvatures) * (1 - 1e-6) <= rule.alpha <= 1 / min(curvatures) * (1 + 1e-6)


def test_as_many_draws_with_replacement_have_noise_too() -> None:
    assert learnt(variance=20.0) == 1 / 4
    assert learnt(variance=20.0, draws=True) == (1 - 20 / 100) / 4


@given(
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
    st.floats(0, 100),
    st.floats(0.1, 10),
    st.integers(1, 999),
    st.floats(1e-3, 10),
)
def test_it_is_algorithm_3(
    change: float, moved: float, variance: float, mean_square: float, samples: int, alpha: float
) -> None:
    nu = change / moved
    tilde = 1 / nu * max(0.0, 1 - variance / (samples * mean_square))
    expected = alpha * (1 - samples / 1000) + tilde * samples / 1000
    found = learnt(
        alpha,
        change=change,
        moved=moved,
        variance=variance,
        mean_square=mean_square,
        samples=samples,
        samples_per_epoch=1000,
    )
    assert found == pytest.approx(expected)
    assert found > 0


def test_the_factor_of_the_noise_is_the_best_step_on_a_noisy_quadratic() -> None:
    """f = h |x|^2 / 2 with noisy gradients: the loss after x - a g, averaged over draws, is least at a = alpha~."""
    h, true, samples, random = 4.0, np.array([1.0, 2.0]), 10, np.random.default_rng(0)
    noise = random.normal(0, math.sqrt(60.0), (50_000, 2)) / math.sqrt(samples)  # variance 120 a sample
    g = h * true + noise
    trial = np.linspace(0.05, 0.35, 61)
    losses = [float(((true - a * g) ** 2).sum()) for a in trial]
    mean_square = float((g**2).sum(axis=1).mean())
    best = float(trial[int(np.argmin(losses))])
    found = learnt(
        change=h, moved=1.0, variance=120.0, mean_square=mean_square, samples=samples, samples_per_epoch=10**6
    )
    tilde = (found - 0.5 * (1 - 1e-5)) / 1e-5  # trusted as far as 10 of a million samples
    assert tilde == pytest.approx(best, abs=0.005)


@pytest.mark.parametrize(("variance", "factor"), [(0.0, 1.0), (25.0, 0.5), (50.0, 0.0), (500.0, 0.0)])
def test_noise_shortens_the_step_and_never_turns_it_round(variance: float, factor: float) -> None:
    """Half of the samples, |g|^2 = 1, curvature 4, from 1/2."""
    assert learnt(variance=variance, samples=50) == pytest.approx(0.5 * 0.5 + factor / 4 * 0.5)


def test_it_is_trusted_as_far_as_the_batch_is_the_whole_set() -> None:
    alphas = [learnt(samples=samples, samples_per_epoch=100) for samples in (1, 50, 99, 100)]
    assert alphas == pytest.approx([0.5 - 0.25 * part for part in (0.01, 0.5, 0.99, 1.0)])


def test_repeated_it_comes_to_one_over_the_curvature() -> None:
    rule = BarzilaiBorwein(100.0)
    for _ in range(60):
        rule.learn(change=8.0, moved=2.0, variance=0.0, mean_square=1.0, samples=300, samples_per_epoch=1000)
    assert rule.alpha == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize(
    "how",
    [
        {"change": 0.0},
        {"change": -1.0},
        {"change": math.nan},
        {"change": math.inf},
        {"moved": 0.0},
        {"mean_square": 0.0},
        {"moved": math.nan},
        {"mean_square": math.nan},
    ],
    ids=str,
)
def test_without_a_positive_curvature_the_step_stays(how: dict[str, float]) -> None:
    assert learnt(0.5, **how) == 0.5


def test_it_is_safeguarded_as_armijo_without_the_doubling() -> None:
    rule = BarzilaiBorwein(0.25, 0.1)
    assert (rule.first(grew=False, part=0.1), rule.first(grew=True, part=0.1)) == (0.25, 0.25)
    assert rule.accepts(1.0, 2.0, 1.9, 1.0)
    assert not rule.accepts(1.0, 2.0, 1.91, 1.0)
    assert not rule.accepts(1.0, 2.0, math.nan, 1.0)
    rule.after(0.125)
    assert rule.first(grew=True, part=0.1) == 0.125


def test_what_it_needs_from_the_loop() -> None:
    assert BarzilaiBorwein.needs_variance


def test_gradient_descent_with_it_is_faster_than_the_longest_safe_step() -> None:
    """Condition 100, all samples: the method without its batch is Barzilai and Borwein's of 1988."""
    hessian, x, rule, steps = np.diag([100.0, 37.0, 11.0, 4.0, 1.0]), np.ones(5), BarzilaiBorwein(0.005), 0
    while np.linalg.norm(hessian @ x) > 1e-6 and steps < 1000:
        g = hessian @ x
        move = -rule.alpha * g
        there = hessian @ (x + move)
        rule.learn(
            change=float(move @ (there - g)),
            moved=float(move @ move),
            variance=0.0,
            mean_square=float(g @ g),
            samples=10,
            samples_per_epoch=10,
        )
        x, steps = x + move, steps + 1
    assert steps < 300  # 1 / L takes 1,600
