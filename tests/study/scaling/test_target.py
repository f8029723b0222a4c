"""Samples needed and time to a target, against integrals done another way and hand-worked cases."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from hpc_adabatch.errors import InputError
from hpc_adabatch.policies.goodput import efficiency
from hpc_adabatch.study.scaling.stretches import Stretch, constant, from_run, joined
from hpc_adabatch.study.scaling.target import BatchRange, cheapest, cost, costs, following, soonest, spread

pytestmark = pytest.mark.long

noises, sizes, batches = st.floats(1, 1e6), st.floats(1e3, 1e9), st.integers(1, 10**6)
ways = st.lists(st.builds(Stretch, least_samples=sizes, noise_scale=noises), min_size=1, max_size=8)


def samples_needed(way: Sequence[Stretch], batch: float) -> float:
    """E(B) with one batch all the way."""
    return sum(stretch.samples(batch) for stretch in way)


def fixed_run(records: Sequence[tuple[float, float]], samples: float, batch: float) -> tuple[Stretch, ...]:
    """The way to the target by a run with a fixed batch: (part of its samples, noise scale)."""
    return from_run([(part * samples, noise, batch) for part, noise in records], samples)


@given(least=sizes, noise=noises, batch=batches)
def test_steps_and_samples_lie_on_the_papers_hyperbola(least: float, noise: float, batch: int) -> None:
    """(S/S_min - 1)(E/E_min - 1) = 1, equation 2.11."""
    samples = samples_needed(constant(least, noise), batch)
    steps, least_steps = samples / batch, least / noise
    assert (steps - least_steps) * (samples - least) == pytest.approx(least * least_steps, rel=1e-3)


def test_at_the_noise_scale_it_takes_twice_the_samples_and_twice_the_steps() -> None:
    samples = samples_needed(constant(1e6, 500), 500)
    assert samples == 2e6
    assert samples / 500 == 2 * (1e6 / 500)


@given(noise=noises, start=batches, batch=batches)
def test_a_samples_worth_is_that_of_the_goodput_rule(noise: float, start: int, batch: int) -> None:
    way = constant(1e6, noise)
    assert samples_needed(way, start) / samples_needed(way, batch) == pytest.approx(efficiency(batch, noise, start))


@given(way=ways, batch=batches)
def test_stretches_joined_need_as_many_samples_at_any_batch(way: list[Stretch], batch: int) -> None:
    assert joined(way).samples(batch) == pytest.approx(samples_needed(way, batch))


@given(noise=noises, batch=batches, other=batches, samples=sizes)
def test_a_run_with_another_batch_tells_the_same_way(noise: float, batch: int, other: int, samples: float) -> None:
    one = fixed_run([(0, noise)], samples, batch)
    again = fixed_run([(0, noise)], samples_needed(one, other), other)
    assert samples_needed(one, batch) == pytest.approx(samples)
    assert samples_needed(again, batch) == pytest.approx(samples)


def test_a_growing_noise_scale_by_an_integral() -> None:
    """B_noise = 100 (1 + 9 x) over the run's part x, at batch 64; then all of it at 1000."""
    records = [(n / 1000, 100 * (1 + 9 * (n + 0.5) / 1000)) for n in range(1000)]
    exact, _ = quad(lambda x: 1e6 / (1 + 64 / (100 * (1 + 9 * x))) * (1 + 1000 / (100 * (1 + 9 * x))), 0, 1)
    found = fixed_run(records, 1e6, 64)
    assert len(found) <= 64
    assert samples_needed(found, 1000) == pytest.approx(exact, rel=1e-4)


def test_a_journal_whose_batch_changed() -> None:
    way = from_run([(100, 50.0, 50), (500, 200.0, 100), (2000, 1.0, 1)], 1100)
    assert way == (
        Stretch(least_samples=250, noise_scale=50),  # 500 samples at half of their worth, from the start on
        Stretch(least_samples=400, noise_scale=200),
    )
    assert from_run([(0, -3.0, 7)], 80)[0] == Stretch(least_samples=10, noise_scale=1)
    assert samples_needed(from_run([(0, math.inf, 64)], 640), 10**9) == 640


def test_time_learning_and_machine_by_hand() -> None:
    """Two nodes, steps of 0.1 s at batch 300 where one node's best is 2000 samples a second."""
    found = cost("strong", 2, constant(1e6, 600), [300], lambda *_: 0.1, 2000)
    assert found.samples == 1.5e6
    assert found.steps == 5000
    assert found.seconds == 500
    assert found.node_hours == pytest.approx(1000 / 3600)
    assert found.learning == pytest.approx(2 / 3)
    assert found.machine == pytest.approx(3000 / 4000)
    assert found.efficiency == pytest.approx(0.5)


def step_s(nodes: int, batch: int) -> float:
    """A millisecond a sample of a node's share, and what the network takes."""
    return 1e-3 * batch / nodes + 0.02 * (nodes > 1)


GRID = BatchRange(start_batch=64, ranks_per_node=1, most=65536)


@given(way=ways)
def test_no_fixed_batch_on_the_grid_is_sooner_than_the_best(way: list[Stretch]) -> None:
    found = costs([1, 2, 4, 8, 16], way, step_s, GRID, 1000)
    for one in found:
        assert one.efficiency <= 1 + 1e-9
        assert one.machine * one.learning == pytest.approx(one.efficiency)
        if one.mode in ("strong", "weak"):
            best = next(other for other in found if other.nodes == one.nodes and other.mode == "best")
            assert best.seconds <= one.seconds * (1 + 1e-12)
        goodput = [other.seconds for other in found if other.nodes == one.nodes and other.mode == "goodput"]
        assert all(seconds <= one.seconds * (1 + 1e-12) for seconds in goodput if one.mode == "best")
    assert soonest(found).seconds <= 1.01 * min(one.seconds for one in found)
    assert cheapest(found).node_hours <= 1.01 * min(one.node_hours for one in found)


def test_a_schedule_is_sooner_where_the_noise_scale_grows_and_goodput_finds_the_square_root() -> None:
    """Steps of a + b B seconds: sqrt(a B_noise / b), which is 2, 4, ... 64 times 32 here, to the next doubling."""

    def seconds(_nodes: int, batch: int) -> float:
        return 1e-3 * batch + 0.1024

    way = [Stretch(least_samples=1e5, noise_scale=40.0 * 4**n) for n in range(6)]
    by_mode = {one.mode: one for one in costs([8], way, seconds, GRID, 1000)}
    assert by_mode["goodput"].batches == (64, 128, 256, 512, 1024, 2048)
    assert by_mode["goodput"].seconds < 0.9 * by_mode["best"].seconds
    assert by_mode["adaptive"].batches == (40, 160, 640, 2560, 10240, 40960)


def test_the_adaptive_batch_may_be_a_fraction_of_the_noise_scale() -> None:
    half = BatchRange(start_batch=64, ranks_per_node=1, most=65536, fraction=0.5)
    way = [Stretch(least_samples=1e5, noise_scale=400.0 * 4**n) for n in range(2)]
    (adaptive,) = (one for one in costs([8], way, step_s, half, 1000) if one.mode == "adaptive")
    assert adaptive.batches == (200, 800)


def test_strong_and_weak_need_a_sample_for_each_rank() -> None:
    modes = {(one.nodes, one.mode) for one in costs([1, 128, 1 << 17], constant(1e6, 1e3), step_s, GRID, 1000)}
    assert (128, "strong") not in modes
    assert (128, "weak") in modes
    assert not any(nodes == 1 << 17 for nodes, _ in modes)


@given(noise=noises, ranks=st.integers(1, 512))
def test_adaptive_batches_are_shared_alike_and_within_bounds(noise: float, ranks: int) -> None:
    (wanted,) = following(constant(1, noise), ranks, 65536)
    batch = spread(wanted, ranks, 65536)
    assert batch % ranks == 0
    assert ranks <= batch <= 65536
    assert abs(batch - min(max(noise, ranks), 65536)) <= ranks


def test_what_cannot_be() -> None:
    with pytest.raises(InputError, match="none measured"):
        from_run([], 100)
    with pytest.raises(InputError, match="order"):
        from_run([(0, 1.0, 1), (50, 1.0, 1), (10, 1.0, 1)], 100)
    with pytest.raises(InputError, match="noise_scale"):
        constant(1e6, 0)
