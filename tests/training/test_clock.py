"""One clock for the schedule and for the end of training: samples seen, or AdaScale's progress."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess

N, BATCH, REFERENCE, RATE = 100, 32, 2, 0.01  # S = 16, and an epoch ends with a step of 36
NOISE = (8.0 * REFERENCE, 1.0)  # (8 + 1) / (8 / 16 + 1) = 6
GAIN = 6.0


class Known(hab.Policy):
    """A fixed batch whose noise is known before the first step."""

    brings_noise: ClassVar[bool] = True  # type: ignore[misc]

    def phase(self, progress: hab.Progress) -> int:
        return 1

    def first_phase(self, progress: hab.Progress) -> int:
        return 0

    def propose(self, progress: hab.Progress) -> hab.Proposal:
        return hab.Proposal(global_batch=progress.global_batch, noise=NOISE, reason="known")


def training(
    batch: int = BATCH,
    policy: hab.Policy | None = None,
    optimizer: Any = torch.optim.SGD,
    options: dict[str, Any] | None = None,
    **rule: Any,
) -> hab.AdaptiveTraining:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1).double()
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(*(torch.randn(N, width, generator=generator).double() for width in (3, 1)))
    return hab.AdaptiveTraining(
        model,
        optimizer(model.parameters(), lr=RATE, **({} if optimizer is hab.LAMB else {"momentum": 0.9})),
        hab.AdaptiveBatches(data, batch, seed=1),
        cluster=SingleProcess(),
        policy=policy or Known(),
        learning_rate=hab.LearningRate(
            **{"scaling": "adascale", "reference_batch": REFERENCE, "decay": "cosine", "epochs": 2.7} | rule
        ),
        options=hab.LoopOptions(**options or {}),
    )


def run(
    loop: hab.AdaptiveTraining,
    epochs: Iterable[int],
    until_step: int = 10**9,
    loss: Callable[[torch.Tensor], torch.Tensor] = lambda loss: loss,
) -> list[tuple[int, float]]:
    """Samples and learning rate of each step."""
    steps: list[tuple[int, float]] = []
    for epoch in epochs:
        for step in loop.epoch(epoch):
            for inputs, targets in step:
                step.backward(loss(mse_loss(loop.model(inputs), targets)))
            step.update()
            steps.append((len(step.batch), loop.last_rate))
            if loop.steps == until_step:
                return steps
    return steps


def cosine(part: float) -> float:
    return (1 + math.cos(math.pi * min(1.0, part))) / 2


@pytest.mark.parametrize("epochs", [1.0, 2.7, 4.5])
def test_it_trains_until_the_papers_clock_is_full_and_the_cosine_arrives(epochs: float) -> None:
    """Bug story: at S = 16 and r = 6 training ended where the cosine was at 0.69 of its peak.

    Algorithm 1 of 2007.05105 by hand: iterations at the reference batch, and tau, which a part of a step moves by as
    much of r.
    """
    loop = training(epochs=epochs)
    steps = run(loop, loop.epochs(epochs))
    iterations = epochs * N / REFERENCE
    tau = [GAIN * sum(size for size, _ in steps[:number]) / BATCH for number in range(len(steps) + 1)]
    assert tau[-2] < iterations <= tau[-1]
    assert [rate for _, rate in steps] == pytest.approx([RATE * GAIN * cosine(at / iterations) for at in tau[:-1]])
    assert loop.clock == pytest.approx(tau[-1] * REFERENCE / N)
    assert loop.plan.samples_seen == sum(size for size, _ in steps) > 2.5 * epochs * N
    assert list(loop.epochs(epochs)) == []


def test_on_the_clock_of_samples_the_rate_alone_takes_the_gain() -> None:
    loop = training(clock="samples", epochs=3.0)
    steps = run(loop, loop.epochs(3))
    seen = [sum(size for size, _ in steps[:number]) for number in range(len(steps))]
    assert [rate for _, rate in steps] == pytest.approx([RATE * GAIN * cosine(at / (3 * N)) for at in seen])
    assert loop.plan.samples_seen == 3 * N
    assert loop.clock == 3.0


@pytest.mark.parametrize("batch", [2, 7, 32])
def test_at_the_reference_batch_the_clocks_are_one_whatever_rest_an_epoch_leaves(batch: int) -> None:
    scaled, plain = training(batch, reference_batch=batch), training(batch, hab.Fixed(), scaling="none")
    assert run(scaled, scaled.epochs(2)) == run(plain, plain.epochs(2))
    assert scaled.plan.samples_seen == plain.plan.samples_seen == 2 * N
    assert scaled.clock == plain.clock == 2.0


def test_a_range_counts_passes_whatever_the_clock() -> None:
    loop = training()
    run(loop, range(3))
    assert loop.plan.samples_seen == 3 * N
    assert loop.clock == pytest.approx(3 * GAIN * REFERENCE / BATCH)


@pytest.mark.long
def test_the_epochs_go_on_from_any_step_exactly_also_to_an_end_within_a_pass() -> None:
    whole = training()
    steps = run(whole, whole.epochs(2.7))
    assert not whole.plan.epoch_finished
    for at_step in range(1, whole.steps + 1):
        part, rest = training(), training()
        run(part, part.epochs(2.7), until_step=at_step)
        rest.load_state_dict(part.state_dict())
        assert run(rest, rest.epochs(2.7)) == steps[at_step:]
        assert rest.state_dict()["course"] == whole.state_dict()["course"]
        for found, expected in zip(rest.model.parameters(), whole.model.parameters(), strict=True):
            assert torch.equal(found, expected)


def test_a_run_that_ended_within_a_pass_can_be_prolonged() -> None:
    twice, once = (training(decay="constant", epochs=None) for _ in range(2))
    steps = run(twice, twice.epochs(1.3))
    assert not twice.plan.epoch_finished
    assert steps + run(twice, twice.epochs(1.9)) == run(once, once.epochs(1.9))
    assert torch.equal(twice.model.weight, once.model.weight)


def test_epochs_of_samples_are_numbered_as_by_range() -> None:
    numbers, steps = [], []
    loop = training(32, hab.Fixed(), scaling="none")
    for epoch in loop.epochs(2.3):
        numbers.append(epoch)
        steps += run(loop, [epoch])
    assert numbers == [0, 1, 2]
    assert 2.3 * N <= loop.plan.samples_seen < 2.3 * N + steps[-1][0]


def test_an_epoch_that_is_not_trained_on_is_told_instead_of_being_yielded_for_ever() -> None:
    with pytest.raises(RuntimeError, match="epoch 0 was not trained on"):
        list(training().epochs(3))


@pytest.mark.parametrize("scaling", ["none", "linear", "sqrt"])
def test_only_adascale_has_a_clock_of_its_own(scaling: str) -> None:
    with pytest.raises(hab.InputError) as caught:
        hab.LearningRate(scaling=scaling, clock="scale_invariant")  # type: ignore[arg-type]
    told = "learning_rate.clock: given scale_invariant; allowed: samples, without scaling adascale; type"
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)
    assert not hab.LearningRate(scaling=scaling).scale_invariant  # type: ignore[arg-type]


def of_progress(loop: hab.AdaptiveTraining) -> dict[str, Any]:
    state = loop.state_dict()
    measuring = {name: value for name, value in state["measuring"].items() if name != "next"}
    return copy.deepcopy({"model": state["model"], "optimizer": state["optimizer"], "measuring": measuring})


@pytest.mark.parametrize("every", [1, 100])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, hab.LARS, hab.LAMB])
@pytest.mark.parametrize("clock", ["samples", "scale_invariant"])
def test_a_skipped_step_takes_its_samples_and_stands_for_no_progress(clock: str, optimizer: Any, every: int) -> None:
    """Bug story: AdaScale's clock moved on where momentum, LAMB's t and the averages of the noise stood."""
    loop = training(16, hab.Fixed(), clock=clock, optimizer=optimizer, options={"measure_every": every})
    run(loop, loop.epochs(3), until_step=3)
    before, clock_before, seen = of_progress(loop), loop.clock, loop.plan.samples_seen
    [(size, _)] = run(loop, loop.epochs(3), until_step=4, loss=lambda loss: loss * math.inf)
    after = of_progress(loop)
    assert after["measuring"] == before["measuring"]
    for name, value in before["model"].items():
        assert torch.equal(value, after["model"][name])
    assert before["optimizer"]["state"]
    for parameter, state in before["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(after["optimizer"]["state"][parameter][name]))
    assert (loop.steps, loop.skipped, loop.plan.samples_seen - seen) == (4, 1, size)
    assert loop.clock == clock_before + (size / N if clock == "samples" else 0)


@pytest.mark.parametrize("clock", ["samples", "scale_invariant"])
def test_steps_skipped_in_a_row_end_training_on_every_clock(clock: str) -> None:
    """Bug story: a run whose every step was skipped went on to its end, and was called complete."""

    def infinite(loss: torch.Tensor) -> torch.Tensor:
        return loss * math.inf

    loop = training(clock=clock, options={"max_skipped": 7})
    run(loop, loop.epochs(9), until_step=2)
    run(loop, loop.epochs(9), until_step=8, loss=infinite)
    run(loop, loop.epochs(9), until_step=9)  # one update: the count begins again
    run(loop, loop.epochs(9), until_step=12, loss=infinite)
    resumed = training(clock=clock, options={"max_skipped": 7})
    resumed.load_state_dict(copy.deepcopy(loop.state_dict()))
    for each in (loop, resumed):
        with pytest.raises(hab.DivergedError, match="7 steps in a row, up to step 16, were skipped"):
            run(each, each.epochs(9), loss=infinite)
        assert (each.steps, each.skipped) == (16, 6 + 7)
