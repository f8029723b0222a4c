"""A warm-up that ends by its losses, in the loop: what it holds, what it writes down, and going on from within."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.policies import POLICIES
from hpc_adabatch.run.preview import preview
from hpc_adabatch.training.journal import Journal, Record, read
from hpc_adabatch.training.options import check_rates

QUICKSTART = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")
DRAW = torch.Generator().manual_seed(0)
INPUTS = torch.randn(96, 3, generator=DRAW)
TARGETS = INPUTS @ torch.tensor([[1.0], [2.0], [-1.0]]) + 0.1 * torch.randn(96, 1, generator=DRAW)
DATA = TensorDataset(INPUTS, TARGETS)
RULE = hab.LearningRate(warmup="auto", decay="cosine", epochs=20)
COUPLED = {"adabatch": {}, "smith": {"milestones": (5,)}, "seesaw": {"milestones": (5,)}, "plateau": {}, "cabs": {}}


def sgd(parameters: Any) -> torch.optim.Optimizer:
    """Its clipped steps are as long as the rate, so that the loss rises when the rate has become too high."""
    return torch.optim.SGD(parameters, lr=100.0, momentum=0.5)


def loop(
    journal: Path | None = None, *, optimizer: Callable[..., torch.optim.Optimizer] = sgd, **how: Any
) -> hab.AdaptiveTraining:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    return hab.AdaptiveTraining(
        model,
        optimizer(model.parameters()),
        hab.AdaptiveBatches(DATA, 8, max_global_batch=32, max_micro_batch=4, seed=1),
        cluster=SingleProcess(),
        options=hab.LoopOptions(clip_norm=1.0, measure_every=2),
        journal=Journal(journal),
        **{"learning_rate": RULE, **how},
    )


def train(training: hab.AdaptiveTraining, until: float = 1e9) -> list[tuple[int, float]]:
    """The batch and the learning rate of each step."""
    steps = []
    for epoch in training.epochs(20):
        for step in training.epoch(epoch):
            for inputs, targets in step:
                step.backward(mse_loss(training.model(inputs), targets))
            step.update()
            steps.append((len(step.batch), training.last_rate))
            if training.steps >= until:
                return steps
    return steps


def looks(path: Path) -> list[Record]:
    return [record for record in read(path) if "warmup" in record]


def test_it_ends_where_the_losses_turn_and_the_journal_says_why(tmp_path: Path) -> None:
    rates = [rate for _, rate in train(loop(tmp_path / "journal.jsonl"))]
    told = looks(tmp_path / "journal.jsonl")
    assert [line["cursor"] for line in told] == [96 * epoch for epoch in range(1, len(told) + 1)]
    assert 8 <= len(told) < 10
    *before, last = told
    assert [line["warmup"]["agreed"] for line in told[-3:]] == [1, 2, 3]
    assert {line["warmup"]["height"] for line in before} == {None}
    assert all(sum(p > 0.95 for p in line["warmup"]["probabilities"]) >= 3 for line in told[-3:])
    assert before[-1]["reason"] == "warm-up: 5 of 5 tests see the losses' minimum behind, 2 epochs in a row"
    assert last["reason"].startswith("the warm-up ends: 5 of 5 tests see the losses' minimum behind, 3 epochs in a row")
    assert last["learning_rate"] == pytest.approx(100 * last["warmup"]["height"])
    rise = [100 * 1e-5 ** (1 - 8 * step / 960) for step in range(12 * len(told))]
    assert rates[: len(rise)] == pytest.approx(rise)
    assert rates[len(rise)] == pytest.approx(last["learning_rate"])
    assert rates[round(12 * last["warmup"]["minimum"])] == pytest.approx(last["learning_rate"], rel=0.2)
    assert rates[-1] < 0.01 * last["learning_rate"]


@pytest.mark.parametrize(
    ("policy", "grows"),
    [
        (lambda: hab.Schedule(text="0:8 1ep:16 3ep:24"), [24]),
        (lambda: hab.NoiseScale(window=96, dwell=1, fraction=100), [16, 32]),
        (lambda: hab.BigBatch(theta=0.01), [32]),
    ],
    ids=["schedule", "noise_scale", "big_batch"],
)
def test_the_batch_stays_until_then(policy: Any, grows: list[int], tmp_path: Path) -> None:
    batches = [batch for batch, _ in train(loop(tmp_path / "journal.jsonl", policy=policy()))]
    ends = looks(tmp_path / "journal.jsonl")[-1]["step"]
    assert ends >= 96
    assert set(batches[:ends]) == {8}
    assert set(batches[ends:]) >= set(grows)
    held = [line for line in read(tmp_path / "journal.jsonl") if line["kind"] == "decision" and line["step"] < ends]
    assert {line["global_batch"] for line in held} == {8}
    if grows == [16, 32]:  # it went on measuring
        assert [line["reason"] for line in held].count("the batch stays until the warm-up has ended") > 20


@pytest.mark.parametrize("stop", [40, 90, 96, 103, 150])
@pytest.mark.parametrize("policy", [hab.Fixed, lambda: hab.NoiseScale(window=96, dwell=1, fraction=100)])
def test_what_goes_on_from_anywhere_equals_what_was_never_stopped(stop: int, policy: Any, tmp_path: Path) -> None:
    whole, first = loop(tmp_path / "whole.jsonl", policy=policy()), loop(tmp_path / "parts.jsonl", policy=policy())
    steps = train(whole)
    assert train(first, until=stop) == steps[:stop]
    first.save(tmp_path / "kept")
    again = loop(tmp_path / "parts.jsonl", policy=policy())
    assert again.load(tmp_path / "kept")
    assert train(again) == steps[stop:]
    for one, other in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)
    one, other = (looks(tmp_path / name) for name in ("parts.jsonl", "whole.jsonl"))
    assert [line["warmup"] for line in one] == [line["warmup"] for line in other]


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda groups: torch.optim.SGD(groups, lr=1.0),
        lambda groups: torch.optim.AdamW(groups, lr=1.0),
        lambda groups: hab.LARS(groups, lr=1.0),
        lambda groups: hab.LAMB(groups, lr=1.0),
    ],
    ids=["sgd", "adamw", "lars", "lamb"],
)
def test_every_optimizer_takes_it_and_all_groups_have_the_factor(optimizer: Any) -> None:
    training = loop(
        optimizer=lambda parameters: optimizer([{"params": [p], "lr": n + 1.0} for n, p in enumerate(parameters)])
    )
    for expected in (1e-5, 1e-5 ** (1 - 8 / 960)):
        train(training, until=training.steps + 1)
        assert [group["lr"] for group in training.optimizer.param_groups] == pytest.approx([expected, 2 * expected])


def test_a_checkpoint_whose_losses_do_not_fit_is_refused() -> None:
    first = loop()
    train(first, until=30)
    state = first.state_dict()
    state["course"]["auto"]["losses"].pop()
    with pytest.raises(ValueError, match="not as many losses"):
        loop().load_state_dict(state)


@pytest.mark.parametrize("name", COUPLED)
def test_rules_that_go_by_the_rate_are_refused(name: str) -> None:
    line = r"learning_rate\.warmup: given auto; allowed: none, fixed or legw with \w+, which goes by the rate itself"
    with pytest.raises(hab.InputError, match=line):
        check_rates(POLICIES[name](**COUPLED[name]), RULE, None)


def test_all_others_are_taken() -> None:
    for name in POLICIES.keys() - COUPLED.keys():
        check_rates(POLICIES[name](**({"text": "0:8"} if name == "schedule" else {})), RULE, None)


def test_searches_and_scripts_without_a_length_are_refused() -> None:
    with pytest.raises(hab.InputError, match="learning_rate: given a schedule; allowed: none with Armijo"):
        check_rates(hab.BigBatch(), RULE, hab.Armijo(1.0))
    with pytest.raises(hab.InputError, match=r"learning_rate.epochs: given nothing; allowed: 10 or more"):
        loop(learning_rate=hab.LearningRate(warmup="auto"))


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ("--epochs 9", "learning_rate.epochs: given 9; allowed: 10 or more with warmup auto, which takes half of them"),
        ("--policy adabatch", "learning_rate.warmup: given auto; allowed: none, fixed or legw with AdaBatch"),
        ("--learning_rate.scaling adascale", "learning_rate.scaling: given adascale; allowed: none, linear, sqrt"),
        ("--policy big_batch --optimizer armijo", "learning_rate: given a schedule; allowed: none with Armijo"),
        ("--learning_rate.warmup_epochs 5", "learning_rate.warmup_epochs: given 5.0; allowed: 0 with warmup auto"),
    ],
)
def test_bad_recipes_are_one_line(flags: str, line: str) -> None:
    with pytest.raises(hab.InputError) as caught:
        parse_recipe("train", [QUICKSTART, "--policy", "fixed", "--learning_rate.warmup", "auto", *flags.split()])
    assert str(caught.value).startswith(line)


def test_the_plan_tells_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--policy.text 0:100+3ep:200 --learning_rate.warmup auto --learning_rate.decay cosine --optimizer.lr 2"
    words = [word.replace("+", " ") for word in flags.split()]
    given = ["--policy", "schedule", "--global_batch", "100", "--max_micro_batch", "100"]
    preview(parse_recipe("plan", [QUICKSTART, *given, *words])[0], 1, measure=False)
    told = capsys.readouterr().out
    assert "rises from 2e-05 to 2 until epoch 15 at most, by a factor of 2.15 an epoch" in " ".join(told.split())
    assert "│    15 │    200 │" in told  # held until then
