"""Which steps are measured, what a measurement holds, and what it may cost."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hpc_adabatch.training import measuring as module
from hpc_adabatch.training.measuring import FIRST_PACE, SLOWEST_PACE, Measuring
from hpc_adabatch.training.slots import listed


def alone(tensor: torch.Tensor) -> torch.Tensor:
    """The sum over one rank."""
    return tensor


class Run:
    """A linear model whose gradients are known: pass i has the gradient of the mean of its inputs."""

    def __init__(
        self,
        *,
        every: int | None = 1,
        keep: int = 0,
        window_samples: float = 100.0,
        population: int | None = None,
    ) -> None:
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.measuring = Measuring(
            {"weight": [self.weight], "bias": [self.bias]},
            window_samples=window_samples,
            every=every,
            keep=keep,
            population=population,
        )
        self.step_number = 0

    def step(self, inputs: torch.Tensor, sizes: list[int], *, finite: bool = True, loss: float = 0.5) -> bool:
        """One step over these passes. True when it was measured and taken in."""
        measuring, whole = self.measuring, len(inputs)
        self.weight.grad = self.bias.grad = None
        measuring.begin_step(self.step_number)
        measuring.begin_passes(len(sizes))
        for part in torch.split(inputs, sizes):
            measuring.begin_pass(len(part), len(part) / whole)
            ((part @ self.weight + 2 * self.bias).mean() * len(part) / whole).backward()  # type: ignore[no-untyped-call]
        message = measuring.message()
        if message:
            finite = measuring.take(listed(message), whole, whole, loss, alone) and finite
        self.step_number += 1
        return measuring.end_step(whole, finite=finite)


def inputs(samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(samples, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.5


@pytest.mark.parametrize("keep", [0, 2])
def test_a_measurement_holds_the_sums_over_passes(keep: int) -> None:
    run, data, sizes = Run(keep=keep), inputs(12), [5, 4, 3]
    assert run.step(data, sizes, loss=0.25)
    last = run.measuring.last
    assert last is not None
    parts = list(torch.split(data, sizes))
    if keep:  # two pieces: the first two passes, and the third
        parts = [torch.cat(parts[:2]), parts[2]]
    pieces = [torch.cat([part.mean(dim=0), torch.tensor([2.0]).double()]) for part in parts]
    mean = torch.cat([data.mean(dim=0), torch.tensor([2.0]).double()])
    weights = [len(part) for part in parts]
    assert last.square_sum == pytest.approx(sum(b * float(g @ g) for b, g in zip(weights, pieces, strict=True)))
    assert last.mean_square == pytest.approx(float(mean @ mean))
    assert (last.samples, last.pieces, last.loss) == (12, len(pieces), 0.25)
    if keep:
        expected = sum(b * float(g @ mean) ** 2 for b, g in zip(weights, pieces, strict=True))
        assert last.inner_square_sum == pytest.approx(expected)
    else:
        assert last.inner_square_sum is None


def test_groups_are_told_apart_and_add_up() -> None:
    run = Run()
    assert run.measuring.group_estimates() == {}
    for seed in range(5):
        run.step(inputs(8, seed), [4, 4])
    groups, whole = run.measuring.group_estimates(), run.measuring.estimate
    assert whole is not None
    assert groups["bias"].variance == pytest.approx(0.0, abs=1e-12)  # its gradient is 2, always
    assert groups["bias"].signal == pytest.approx(4.0)
    assert groups["weight"].variance == pytest.approx(whole.variance)
    assert groups["weight"].signal + groups["bias"].signal == pytest.approx(whole.signal)
    fields = run.measuring.fields()
    assert fields["signal_of_groups"] == [groups["weight"].signal, groups["bias"].signal]
    assert fields["noise_scale"] == whole.noise_scale


def test_a_batch_of_the_whole_training_set_has_no_noise_in_any_group() -> None:
    run, data = Run(population=8), inputs(8)
    for _ in range(3):
        run.step(data, [4, 4])
    whole, groups = run.measuring.estimate, run.measuring.group_estimates()
    assert whole is not None
    assert whole.signal == pytest.approx(float(data.mean(dim=0) @ data.mean(dim=0)) + 4)
    assert groups["weight"].signal == pytest.approx(whole.signal - 4)
    assert (whole.population, groups["bias"].population) == (8, 8)
    assert run.measuring.fields()["signal_margin"] == pytest.approx(0.0, abs=1e-6)


def test_passes_added_to_the_batch_add_to_the_measurement() -> None:
    """A batch of 4 that is lengthened by 4: the sums of both, and |g|^2 over all 8."""
    run, data = Run(), inputs(8)
    measuring = run.measuring
    measuring.begin_step(0)
    for done, part in ((4, data[:4]), (8, data[4:])):
        measuring.begin_passes(2)
        run.weight.grad = run.bias.grad = None
        for half in torch.split(part, 2):
            measuring.begin_pass(2, 0.5)
            ((half @ run.weight + 2 * run.bias).mean() / 2).backward()  # type: ignore[no-untyped-call]
        message = listed(measuring.message())
        run.weight.grad, run.bias.grad = data[:done].mean(dim=0), torch.tensor([2.0]).double()
        assert measuring.take(message, done, done, 0.5, alone)
    last = measuring.last
    assert last is not None
    assert (last.pieces, last.samples) == (4, 8)
    squares = [float(half.mean(dim=0) @ half.mean(dim=0)) + 4 for half in torch.split(data, 2)]
    assert last.square_sum == pytest.approx(2 * sum(squares))
    assert measuring.end_step(8, finite=True)
    run.step_number = 1
    assert run.step(inputs(8, 1), [4, 4])
    assert run.measuring.last is not None
    assert run.measuring.last.pieces == 2  # the next step starts from nothing


def test_one_pass_measures_nothing() -> None:
    run = Run()
    assert not run.step(inputs(8), [8])
    assert run.measuring.last is None
    assert (run.measuring.measurements, run.measuring.estimate) == (0, None)
    assert run.step(inputs(8), [4, 4])
    assert run.measuring.measurements == 1
    assert not run.step(inputs(8), [8])  # nor is the last one taken again
    assert run.measuring.measurements == 1


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_is_not_taken_in(wrong: float) -> None:
    run = Run()
    for seed in range(3):
        run.step(inputs(8, seed), [4, 4])
    before = run.measuring.estimate
    broken = inputs(8)
    broken[0, 0] = wrong
    assert not run.step(broken, [4, 4])
    assert not run.step(inputs(8), [4, 4], loss=wrong)
    assert not run.step(inputs(8), [4, 4], finite=False)  # on another rank
    assert run.measuring.estimate == before
    assert run.measuring.measurements == 3
    assert run.step(inputs(8), [4, 4])
    assert run.measuring.estimate is not None
    assert run.measuring.estimate.samples == 4 * 8  # the skipped ones moved no gradient


@pytest.mark.parametrize("every", [1, 3, 7])
def test_one_step_in_so_many_is_measured_from_the_first_on(every: int) -> None:
    run = Run(every=every)
    found = [run.step(inputs(8, seed), [4, 4]) for seed in range(15)]
    assert found == [step % every == 0 for step in range(15)]
    assert run.measuring.measurements == sum(found)


def test_steps_that_are_not_measured_send_nothing_and_hang_no_hooks() -> None:
    run = Run(every=2)
    run.step(inputs(8), [4, 4])
    assert not run.measuring.begin_step(1)
    run.measuring.begin_passes(2)
    run.measuring.begin_pass(4, 0.5)
    assert run.measuring.message() == []
    assert not run.weight._backward_hooks


def test_a_new_pace_counts_from_the_last_measured_step() -> None:
    measuring = Run(every=None).measuring
    assert measuring.pace == FIRST_PACE
    assert measuring.begin_step(0)
    measuring.set_pace(4)
    assert [step for step in range(1, 14) if measuring.begin_step(step)] == [4, 8, 12]
    measuring.set_pace(20)
    assert [step for step in range(13, 60) if measuring.begin_step(step)] == [32, 52]
    measuring.set_pace(3)
    assert measuring.begin_step(60)  # 55 has passed: at once


def test_setting_a_pace_again_changes_nothing() -> None:
    measuring = Run(every=None).measuring
    measuring.begin_step(0)
    measuring.set_pace(4)
    measuring.set_pace(4)
    measuring.set_pace(6)
    assert [step for step in range(1, 14) if measuring.begin_step(step)] == [6, 12]


def costed(every: int | None, budget: float, passes: int, reading_s: float) -> Measuring:
    """After a step of so many passes, whose reading after the sum took so long."""
    weight = nn.Parameter(torch.zeros(2))
    measuring = Measuring({"all": [weight]}, window_samples=10, every=every, budget=budget)
    measuring.begin_step(0)
    measuring.begin_passes(passes)
    for _ in range(passes):
        measuring.begin_pass(1, 1.0)
        weight.sum().backward()  # type: ignore[no-untyped-call]
    message = listed(measuring.message())
    measuring._meter.seconds = 0.0  # those of this machine, which another job may stretch
    ticks = iter([100.0, 100.0 + reading_s])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
        assert measuring.take(message, passes, passes, 1.0, alone)
    return measuring


@settings(max_examples=60)
@given(st.floats(1e-4, 0.5), st.integers(2, 8), st.floats(1e-3, 1.0), st.floats(1e-3, 10.0))
def test_the_pace_is_the_shortest_that_the_budget_allows(
    budget: float, passes: int, reading_s: float, step_s: float
) -> None:
    """A measurement reads the gradient once a pass and once after the sum."""
    measuring = costed(None, budget, passes, reading_s)
    pace = measuring.affordable(step_s)
    measurement_s = (passes + 1) * reading_s
    assert 1 <= pace <= SLOWEST_PACE
    assert measuring.cost == pytest.approx(measurement_s / (pace * step_s), rel=1e-6)
    if pace < SLOWEST_PACE:
        assert measuring.cost <= budget * (1 + 1e-6)
    if pace > 1:
        assert measurement_s / ((pace - 1) * step_s) > budget * (1 - 1e-6)


def test_a_fixed_pace_is_kept_and_its_cost_is_told() -> None:
    measuring = costed(2, 0.01, 3, 0.5)
    assert measuring.affordable(4.0) == 2
    assert measuring.cost == pytest.approx(4 * 0.5 / (2 * 4.0))


def test_the_pace_stays_until_a_step_was_timed() -> None:
    measuring = costed(None, 0.01, 2, 1.0)
    assert measuring.affordable(None) == FIRST_PACE
    assert math.isnan(measuring.cost)


def test_its_state_goes_through_a_restart_and_json() -> None:
    """What follows is the same to the last bit, wherever the run was cut."""
    for cut in (0, 1, 4, 5):
        one, two = Run(every=2, keep=2), Run(every=2, keep=2)
        for seed in range(cut):
            one.step(inputs(8, seed), [4, 4])
        two.measuring.load_state_dict(json.loads(json.dumps(one.measuring.state_dict())))
        two.step_number = one.step_number
        assert two.measuring.estimate == one.measuring.estimate
        for seed in range(cut, cut + 5):
            assert one.step(inputs(8, seed), [4, 4]) == two.step(inputs(8, seed), [4, 4])
        assert two.measuring.estimate == one.measuring.estimate
        assert two.measuring.group_estimates() == one.measuring.group_estimates()
        assert two.measuring.measurements == one.measuring.measurements == -(-(cut + 5) // 2)


def test_a_changed_pace_goes_through_a_restart() -> None:
    one, two = Run(every=None).measuring, Run(every=None).measuring
    one.begin_step(0)
    one.set_pace(6)
    two.load_state_dict(one.state_dict())
    assert two.pace == 6
    assert [step for step in range(1, 15) if two.begin_step(step)] == [6, 12]
