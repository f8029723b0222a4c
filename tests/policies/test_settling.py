"""Rules that follow the gradient, over many decisions: they arrive, do not swing, and stay."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_adabatch.gradients import Measurement, Smoother
from hpc_adabatch.policies import Cabs, InnerProduct, NoiseScale, NormTest, SimiGrad
from hpc_adabatch.policies.measured import Measured

sys.path.insert(0, str(Path(__file__).parent))  # tests/ has no packages
from estimates import estimate, progress

pytestmark = pytest.mark.long


def directions(sizes: list[int]) -> int:
    """How often growth turns into shrinking or the other way."""
    signs = [math.copysign(1, b - a) for a, b in pairwise(sizes) if a != b]
    return sum(a != b for a, b in pairwise(signs))


@settings(max_examples=40)
@given(st.integers(1, 5000), st.floats(1, 5000), st.floats(1.1, 4), st.floats(0.01, 0.9))
def test_a_constant_noise_scale_is_approached_from_one_side_and_kept(
    now: int, noise_scale: float, growth: float, part: float
) -> None:
    tolerance = part * min(1.0, growth - 1)
    rule, sizes = NoiseScale(shrink=True, dwell=1, growth=growth, tolerance=tolerance), [now]
    for measurements in range(100, 200):
        sizes.append(rule.propose(progress(sizes[-1], estimate(noise_scale), measurements)).global_batch)
    assert directions(sizes) == 0
    assert len(set(sizes[-20:])) == 1


@pytest.mark.parametrize(
    ("noise_scale", "how"), [(480.0, {"n_ranks": 64}), (360.0, {"n_ranks": 8, "max_micro_batch": 4})]
)
def test_a_constant_noise_scale_between_two_even_batches_is_kept_too(noise_scale: float, how: dict[str, Any]) -> None:
    """Bug story: rounded away from the batch, it swung between 448 and 512 for ever."""
    rule, sizes = NoiseScale(shrink=True, dwell=1), [320]
    for measurements in range(100, 120):
        sizes.append(rule.propose(progress(sizes[-1], estimate(noise_scale), measurements, **how)).global_batch)
    assert len(set(sizes[10:])) == 1


@settings(max_examples=40)
@given(
    st.integers(1, 2000), st.floats(1, 2000), st.integers(1, 16), st.none() | st.integers(1, 32), st.integers(0, 500)
)
def test_nor_does_it_swing_on_any_ranks_and_passes(
    now: int, noise_scale: float, n_ranks: int, micro: int | None, above: int
) -> None:
    how: dict[str, Any] = {"n_ranks": n_ranks, "max_micro_batch": micro, "maximum": now + above}
    found = {}
    for shrink in (False, True):
        rule, sizes = NoiseScale(shrink=shrink, dwell=1), [now]
        for measurements in range(100, 120):
            sizes.append(rule.propose(progress(sizes[-1], estimate(noise_scale), measurements, **how)).global_batch)
        assert directions(sizes) == 0
        assert len(set(sizes[-5:])) == 1
        found[shrink] = sizes
    assert found[False] == sorted(found[False])
    assert found[True] == found[False] or found[False] == [now] * 21


def measured(random: np.random.Generator, batch: int, noise_scale: float) -> Measurement:
    """A step: four pieces of a gradient of length 1 under noise alike in twenty directions, and a loss of 1."""
    piece, true = batch / 4, np.full(20, 1 / math.sqrt(20))
    gradients = random.normal(true, math.sqrt(noise_scale / 20 / piece), (4, 20))  # (pieces, parameters)
    mean = gradients.mean(axis=0)
    return Measurement(
        square_sum=piece * float((gradients**2).sum()),
        mean_square=float(mean @ mean),
        samples=batch,
        pieces=4,
        inner_square_sum=piece * float(((gradients @ mean) ** 2).sum()),
        loss=1.0,
    )


def simulated(
    rule: Measured, noise_scale: Callable[[float], float], *, start: int, steps: int, seed: int, window: int
) -> list[int]:
    """Batches after each of so many measured steps; ``noise_scale`` at the part of the run that is over."""
    random, smoother, sizes = np.random.default_rng(seed), Smoother(window), [start]
    for step in range(1, steps + 1):
        smoother.add(measured(random, sizes[-1], noise_scale(step / steps)), sizes[-1])
        at = progress(sizes[-1], smoother.read(), step, maximum=5000, learning_rate=1.0)
        sizes.append(rule.propose(at).global_batch)
    return sizes


RULES: list[tuple[type[Measured], dict[str, Any], float]] = [  # and the batch wanted, over the noise scale
    (NoiseScale, {"fraction": 0.5}, 0.5),
    (NormTest, {"theta": 1.2}, 1 / 1.44),
    (InnerProduct, {}, 0.28),  # B = n/20 (1 + n/B) / 0.81: the mean gradient's own noise is in its inner products
    (Cabs, {}, 1.0),
    (SimiGrad, {"similarity": 0.3}, 6 / 7),
]


@pytest.mark.parametrize(("kind", "how", "part"), RULES)
def test_a_rising_noise_scale_is_followed_in_bounded_steps(
    kind: type[Measured], how: dict[str, Any], part: float
) -> None:
    """From 100 to 3000 with the noise of real measurements: what no step may do, and where it must arrive."""
    rule = kind(dwell=4, growth=1.5, **{"shrink": False, **how})
    sizes = simulated(rule, lambda done: 100 * 30**done, start=32, steps=900, seed=3, window=10_000)
    changes = [step for step, (a, b) in enumerate(pairwise(sizes)) if a != b]
    assert len(changes) > 3
    assert all(later - earlier >= 4 for earlier, later in pairwise(changes))
    assert all(a <= b <= 1.5 * a + 1 for a, b in pairwise(sizes))
    assert sizes[300] < 1000
    assert 0.5 < sizes[-1] / (3000 * part) < 2.5


@pytest.mark.parametrize(("kind", "how", "part"), RULES)
@pytest.mark.parametrize("start", [100, 2000])
def test_a_constant_noise_scale_is_settled_at(
    kind: type[Measured], how: dict[str, Any], part: float, start: int
) -> None:
    """Estimates that scatter by a fifth do not move a batch that is right: following them turned it 30 times."""
    rule = kind(shrink=True, **how)
    sizes = simulated(rule, lambda _: 400.0, start=start, steps=700, seed=5, window=20_000)
    assert directions(sizes) <= 5
    assert len(set(sizes[-200:])) <= 3
    assert 0.6 < sizes[-1] / (400 * part) < 1.6
