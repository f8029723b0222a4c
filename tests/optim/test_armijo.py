"""Backtracking on quadratics whose curvature is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.optim.armijo import HALVINGS, Armijo

Loss = Callable[[np.ndarray], float]


def search(rule: Armijo, loss: Loss, x: np.ndarray, gradient: np.ndarray, *, grew: bool = False) -> float:
    """Halves from the first try until the rule accepts."""
    square, alpha = float(gradient @ gradient), rule.first(grew=grew, part=0.1)
    for _ in range(HALVINGS):
        if rule.accepts(alpha, loss(x), loss(x - alpha * gradient), square):
            rule.after(alpha)
            return alpha
        alpha /= 2
    raise AssertionError("no step was accepted")


def quadratic(curvatures: list[float]) -> tuple[Loss, Callable[[np.ndarray], np.ndarray]]:
    """Loss sum of h x^2 / 2, and its gradient; the largest h is L."""
    h = np.array(curvatures)
    return (lambda x: float(h @ x**2) / 2), (lambda x: h * x)


@given(
    st.lists(st.floats(1e-2, 1e2), min_size=1, max_size=6),
    st.floats(1e-8, 1e8),
    st.floats(1e-3, 0.5),
    st.integers(0, 10**6),
)
def test_a_step_is_accepted_that_is_long_enough_and_lowers_the_loss_enough(
    curvatures: list[float], first: float, decrease: float, seed: int
) -> None:
    """Any alpha up to 2 (1 - c) / L is good, so halving stops above half of that, or at the first try."""
    loss, gradient = quadratic(curvatures)
    x = np.random.default_rng(seed).normal(0, 1, len(curvatures))
    g = gradient(x)
    rule = Armijo(first, decrease)
    alpha = search(rule, loss, x, g)
    assert alpha >= min(first, (1 - decrease) / max(curvatures)) * (1 - 1e-6)
    assert alpha <= first
    assert loss(x - alpha * g) <= loss(x) - decrease * alpha * float(g @ g)
    assert alpha == first or loss(x - 2 * alpha * g) > loss(x) - decrease * 2 * alpha * float(g @ g)
    assert math.log2(first / alpha) == pytest.approx(round(math.log2(first / alpha)))
    assert rule.alpha == alpha


@given(st.floats(1e-2, 1e2), st.floats(1e-3, 0.5))
def test_along_one_curvature_the_longest_step_is_two_minus_two_c_over_it(curvature: float, decrease: float) -> None:
    loss, gradient = quadratic([curvature])
    x, longest = np.array([1.5]), 2 * (1 - decrease) / curvature
    g = gradient(x)
    for alpha, good in ((0.999 * longest, True), (1.001 * longest, False)):
        rule = Armijo(1.0, decrease)
        assert rule.accepts(alpha, loss(x), loss(x - alpha * g), float(g @ g)) == good


def test_the_first_try_is_doubled_only_after_the_batch_grew() -> None:
    rule = Armijo(0.25)
    assert (rule.first(grew=False, part=0.1), rule.first(grew=True, part=0.1)) == (0.25, 0.5)
    assert rule.alpha == 0.25  # trying is not accepting
    rule.after(0.125)
    assert (rule.first(grew=False, part=0.1), rule.first(grew=True, part=0.1)) == (0.125, 0.25)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=20), st.floats(1.01, 8), st.booleans())
def test_the_first_try_rises_by_gamma_over_an_epoch_however_it_is_cut(
    batches: list[int], gamma: float, grew: bool
) -> None:
    """gamma^(K / N), and no doubling beside it."""
    rule = Armijo(0.25, rise=gamma)
    for batch in batches:
        rule.after(rule.first(grew=grew, part=batch / sum(batches)))
    assert rule.alpha == pytest.approx(0.25 * gamma)


def test_a_growing_batch_brings_a_step_that_was_too_short_back() -> None:
    """From 1e-3 at L = 1: doubling ends between (1 - c) / L and 2 (1 - c) / L."""
    loss, gradient = quadratic([1.0])
    rule, x = Armijo(1e-3), np.array([3.0])
    alphas = [search(rule, loss, x, gradient(x), grew=True) for _ in range(20)]
    assert alphas[:5] == pytest.approx([0.002, 0.004, 0.008, 0.016, 0.032])
    assert all(0.9 <= alpha <= 1.8 for alpha in alphas[-5:])
    assert [search(rule, loss, x, gradient(x)) for _ in range(3)] == [alphas[-1]] * 3


@pytest.mark.parametrize("there", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_too_large(there: float) -> None:
    assert not Armijo(1.0).accepts(1e-9, 1.0, there, 1.0)


def test_a_loss_without_a_number_to_compare_with_is_refused() -> None:
    assert not Armijo(1.0).accepts(0.1, math.nan, 0.5, 1.0)
    assert not Armijo(1.0).accepts(0.1, 1.0, 0.5, math.nan)
    assert not Armijo(1.0).accepts(0.1, 1.0, 0.5, math.inf)


def test_backtracking_comes_back_from_where_the_loss_overflows() -> None:
    """exp(x) from 1e3 down its slope is fine, up the other side is not a number."""

    def loss(x: np.ndarray) -> float:
        with np.errstate(over="ignore"):
            return float(np.exp(x[0] ** 2))

    x = np.array([1.0])
    rule = Armijo(1e6)
    alpha = search(rule, loss, x, np.array([2 * math.e]))
    assert loss(x - alpha * np.array([2 * math.e])) < math.e


def test_where_the_gradient_is_zero_any_step_is_good() -> None:
    assert Armijo(1.0).accepts(5.0, 2.0, 2.0, 0.0)
    assert not Armijo(1.0).accepts(5.0, 2.0, 2.0 + 1e-12, 0.0)


def test_gradient_descent_with_it_solves_a_badly_conditioned_problem() -> None:
    loss, gradient = quadratic([100.0, 10.0, 1.0])
    x, rule, losses = np.ones(3), Armijo(1.0), []
    for _ in range(400):
        losses.append(loss(x))
        x = x - search(rule, loss, x, gradient(x), grew=True) * gradient(x)
    assert all(b <= a for a, b in pairwise(losses))
    assert loss(x) < 1e-9 * losses[0]


def test_what_it_needs_from_the_loop() -> None:
    assert not Armijo.needs_variance
