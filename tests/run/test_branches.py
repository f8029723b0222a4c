"""Branches with larger batches, beside plain SGD on the same samples at the rates that each should have."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import hpc_adabatch as hab
from hpc_adabatch.batches.plan import permutation
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.run.branches import Branch, branch_rates, branch_table, possible, train_branches
from hpc_adabatch.run.noise import NoiseFlags, report_noise

N, BATCH = 240, 16
TASK = "task: {name: ridge, samples: 240, features: 5, penalty: 0.01}\nglobal_batch: 16\nseed: 3\n"
SGD = "optimizer: {name: sgd, lr: 0.01, momentum: 0.9, weight_decay: 0.1}\n"


@pytest.fixture
def recipe(tmp_path: Any) -> Any:
    def make(more: str = SGD, *flags: str) -> Any:
        path = tmp_path / "recipe.yaml"
        path.write_text(TASK + more, encoding="utf-8")
        return parse_recipe("noise", [str(path), *flags])[0]

    return make


def oracle(
    data: Any, weight: torch.Tensor, velocity: torch.Tensor, batch: int, rate: float, decay: float, steps: int
) -> float:
    """The loss after steps of SGD with momentum 0.9 as torch has it, gradients and objective by hand."""
    x, y = data.train.tensors
    order = torch.from_numpy(permutation(3, 0, N))
    for part in order[: steps * batch].split(batch):
        gradient = ((x[part] @ weight - y[part]) @ x[part]) / batch + 0.01 * weight
        velocity = 0.9 * velocity + gradient + decay * weight
        weight = weight - rate * velocity
    return float(((x @ weight - y) ** 2).mean() / 2 + 0.01 / 2 * weight.square().sum())


@pytest.mark.parametrize(
    ("flags", "power"),
    [
        ([], 1.0),
        (["--learning_rate.weight_decay=per_epoch"], 1.0),
        (["--learning_rate.scaling=sqrt"], 0.5),
        (["--learning_rate.scaling=sqrt", "--learning_rate.weight_decay=per_epoch"], 0.5),
    ],
    ids=str,
)
def test_a_branch_is_sgd_at_k_times_the_batch_and_the_rate_that_suits_it(
    flags: list[str], power: float, recipe: Any
) -> None:
    """Bug story: the rate was that of Adam, sqrt(k), with SGD too; and weight decay per epoch stayed per step."""
    chosen = recipe(SGD, *flags)
    data = chosen.task.load()
    model = chosen.task.model("linear", data)
    branches = train_branches(chosen, data, model, None, [1, 3, 15], 1.0, SingleProcess())
    kept = 1 - power if "--learning_rate.weight_decay=per_epoch" in flags else 0.0  # lambda times k / scale(k)
    for branch, k in zip(branches, (1, 3, 15), strict=True):
        zero = torch.zeros(5, dtype=torch.float64)
        loss = oracle(data, zero, zero, k * BATCH, 0.01 * k**power, 0.1 * k**kept, N // k // BATCH)
        assert branch.loss == pytest.approx(loss, rel=1e-9)
        assert (branch.multiple, branch.global_batch, branch.updates, branch.samples) == (
            k,
            k * BATCH,
            N / k / BATCH,
            N,
        )
        assert branch.rate == pytest.approx(k**power)


def test_from_a_checkpoint_rates_and_momentum_are_those_of_the_run(recipe: Any) -> None:
    """Its batch of 32 has twice the rate of 16, and after the milestone half of that; weight decay stays per epoch."""
    more = "learning_rate: {scaling: linear, weight_decay: per_epoch, decay: step, milestones: [0.5], gamma: 0.5}\n"
    chosen = recipe(SGD + more)
    data = chosen.task.load()
    model = chosen.task.model("linear", data)
    training = hab.AdaptiveTraining(
        model,
        chosen.optimizer.build(model),
        chosen.batches(data),
        cluster=SingleProcess(),
        policy=hab.Schedule(text="0:16 80sa:32"),
        learning_rate=chosen.schedule,
    )
    for step in training.epoch(0):
        for inputs, targets in step:
            step.backward(chosen.task.loss(model(inputs), targets))
        step.update()
    state = training.state_dict()
    weight, velocity = model.weight[0].detach().clone(), state["optimizer"]["state"][0]["momentum_buffer"][0].clone()
    branches = train_branches(chosen, data, model, state, [1, 3], 0.4, SingleProcess())
    for branch, k in zip(branches, (1, 3), strict=True):
        assert (branch.global_batch, branch.updates, branch.samples) == (32 * k, 3 / k, 96)
        loss = oracle(data, weight, velocity, 32 * k, 0.01 * k, 0.1, 3 // k)
        assert branch.loss == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize(
    ("optimizer", "scaling"), [("sgd", "linear"), ("lars", "sqrt"), ("lamb", "sqrt"), ("adamw", "sqrt")]
)
def test_the_rate_goes_with_the_batch_as_the_optimizers_steps_do(optimizer: str, scaling: str, recipe: Any) -> None:
    chosen = recipe(f"optimizer: {optimizer}\n")
    assert branch_rates(chosen, 16).scaling == scaling
    for own in ("linear", "sqrt"):
        assert branch_rates(recipe(f"optimizer: {optimizer}\n", f"--learning_rate.scaling={own}"), 16).scaling == own


def test_a_fresh_branch_starts_at_the_peak_of_its_recipe(recipe: Any) -> None:
    """The batch of 16 is 4 times the reference: twice the rate by sqrt, and weight decay times 4 / 2."""
    schedule = "preset: legw, reference_batch: 4, decay: cosine, weight_decay: per_epoch"
    chosen = recipe(SGD + f"learning_rate: {{{schedule}}}\n")
    data = chosen.task.load()
    model, zero = chosen.task.model("linear", data), torch.zeros(5, dtype=torch.float64)
    (branch,) = train_branches(chosen, data, model, None, [1], 1.0, SingleProcess())
    assert branch.rate == 1
    assert branch.loss == pytest.approx(oracle(data, zero, zero, 16, 0.01 * 2, 0.1 * 2, N // 16), rel=1e-9)


@pytest.mark.parametrize(
    ("multiples", "epochs", "taken"),
    [([1, 2, 15, 16], 1.0, [1, 2, 15]), ([1, 15, 99], 7.5, [1, 15]), ([1, 7, 8], 0.5, [1, 7]), ([2, 4], 0.2, [2])],
)
def test_only_branches_that_the_training_set_allows_are_run(
    multiples: list[int], epochs: float, taken: list[int]
) -> None:
    """Bug story: the batch was cut to the training set, the rate was not, and the table named k times the batch."""
    assert possible(multiples, BATCH, epochs, N) == taken


@pytest.mark.parametrize(
    ("multiples", "epochs", "line"),
    [
        ([16, 32], 1.0, "branches: given [16, 32]; allowed: one up to 15 at least, as a branch has 240 samples"),
        ([1, 2], 0.05, "branch_epochs: given 0.05; allowed: 0.0667 or more, one batch of 16; type --branch_epochs 1"),
    ],
)
def test_where_none_is_possible_one_line_says_so(multiples: list[int], epochs: float, line: str) -> None:
    with pytest.raises(hab.InputError) as caught:
        possible(multiples, BATCH, epochs, N)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ([1.0, 1.005, 1.01], "critical batch by branches: 64 or more, at a tolerance of 1.0%"),
        ([1.0, 1.02, 1.0], "critical batch by branches: 16, at"),
        ([1.0, 0.9, float("nan")], "critical batch by branches: 32, at"),
    ],
)
def test_the_critical_batch_is_the_last_before_one_that_is_worse(losses: list[float], told: str) -> None:
    branches = [Branch(k, 16 * k, float(k), 15, 240, (loss,)) for k, loss in zip((1, 2, 4), losses, strict=True)]
    assert str(branch_table(branches, 0.01)[1]).startswith(told)


def test_several_orders_have_the_interval_of_their_differences() -> None:
    """By hand: differences 0.01, 0.03, 0.02 have the mean 0.02 and the deviation 0.01; t(2) is 4.3027 at 95 %."""
    first = Branch(1, 16, 1.0, 15, 240, (1.0, 1.1, 0.9))
    other = Branch(2, 32, 2.0, 7, 240, (1.01, 1.13, 0.92))
    mean, half = other.above(first)
    assert (mean, half) == pytest.approx((0.02, 4.30265 * 0.01 / 3**0.5), rel=1e-4)
    assert "critical batch by branches: 32 or more, at a tolerance of 3.0%; the 95 % intervals of 32 leave it open" in (
        str(branch_table([first, other], 0.03)[1])
    )
    assert "critical batch by branches: 16, at a tolerance of 1.0%" in str(branch_table([first, other], 0.01)[1])


def test_an_order_is_a_seed_of_its_own(recipe: Any) -> None:
    chosen, cluster = recipe(), SingleProcess()
    data = chosen.task.load()
    model = chosen.task.model("linear", data)
    first, second = train_branches(chosen, data, model, None, [1, 3], 1.0, cluster, orders=2)
    alone = train_branches(recipe(SGD, "--seed=4"), data, model, None, [1, 3], 1.0, cluster)
    assert [first.losses[1], second.losses[1]] == [branch.loss for branch in alone]
    assert first.losses[0] != first.losses[1]


def test_the_command_names_what_was_run_and_what_was_not(recipe: Any) -> None:
    flags = NoiseFlags(steps=4, branches=(1, 15, 2000))
    told = [part for part in report_noise(recipe(), flags, SingleProcess()) if isinstance(part, str)]
    assert "k = 2000 left out: a branch has fewer samples than such a batch" in told
    assert sum("critical batch by branches: " in line for line in told) == 1
    assert not any("32000" in line for line in told)
