"""The loop in one process; with ranks in launch/test_exact_mean.py."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.batches.plan import permutation
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.gradients import Measurement
from hpc_adabatch.training.journal import Journal, read
from hpc_adabatch.training.line_search import LineSearch
from hpc_adabatch.training.step import Step


def dataset(samples: int = 50) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(
        torch.randn(samples, 3, generator=generator).double(), torch.randn(samples, 1, generator=generator).double()
    )


def training(
    global_batch: int = 8,
    max_micro_batch: int = 100,
    data: TensorDataset | None = None,
    weight_decay: float = 0.0,
    options: dict[str, Any] | None = None,
    **how: Any,
) -> hab.AdaptiveTraining:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=weight_decay)
    batches = hab.AdaptiveBatches(data or dataset(), global_batch, max_micro_batch=max_micro_batch, seed=1)
    return hab.AdaptiveTraining(
        model, optimizer, batches, cluster=SingleProcess(), options=hab.LoopOptions(**options or {}), **how
    )


def run(loop: hab.AdaptiveTraining, epochs: int, until_step: int = 10**9) -> list[int]:
    sizes = []
    for epoch in range(epochs):
        for step in loop.epoch(epoch):
            for inputs, targets in step:
                step.backward(mse_loss(loop.model(inputs), targets))
            step.update()
            sizes.append(len(step.batch))
            if loop.steps == until_step:
                return sizes
    return sizes


def test_the_loop_equals_plain_sgd_on_the_same_batches() -> None:
    loop = training(policy=hab.Schedule(text="0:8 30sa:21 75sa:5"), max_micro_batch=4)
    sizes = run(loop, 2)
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    inputs, targets = dataset().tensors
    order = torch.cat([torch.from_numpy(permutation(1, epoch, 50)) for epoch in range(2)])
    for size in sizes:
        chosen, order = order[:size], order[size:]
        optimizer.zero_grad()
        mse_loss(model(inputs[chosen]), targets[chosen]).backward()
        optimizer.step()
    assert len(order) == 0
    for found, expected in zip(loop.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_a_change_holds_from_the_very_next_step() -> None:
    assert run(training(policy=hab.Schedule(text="0:8 16sa:3 19sa:20")), 1) == [8, 8, 3, 16, 15]  # of 31


@pytest.mark.parametrize(
    ("schedule", "sizes", "factors"),
    [
        ("0:8", [8, 8, 8, 8, 8, 10], [1, 1, 1, 1, 1, 1]),
        ("0:13", [13, 13, 12, 12], [13 / 8, 13 / 8, 13 / 8, 13 / 8]),
        ("0:8 40sa:20", [8, 8, 8, 8, 8, 10], [1, 1, 1, 1, 1, 10 / 8]),  # too short: at the rate of its samples
    ],
)
def test_the_last_steps_of_an_epoch_have_the_rate_of_the_batch_unless_it_grew_there(
    schedule: str, sizes: list[int], factors: list[float], tmp_path: Path
) -> None:
    rule = hab.LearningRate(scaling="linear", reference_batch=8)
    start, journal = int(schedule.split()[0][2:]), Journal(tmp_path / "journal.jsonl")
    loop = training(start, policy=hab.Schedule(text=schedule), learning_rate=rule, journal=journal)
    found: list[tuple[int, float]] = []
    for step in loop.epoch(0):
        for inputs, targets in step:
            step.backward(mse_loss(loop.model(inputs), targets))
        step.update()
        found.append((len(step.batch), loop.last_rate))
    assert found == [(size, pytest.approx(0.1 * factor)) for size, factor in zip(sizes, factors, strict=True)]
    told = [record["global_batch"] for record in read(tmp_path / "journal.jsonl") if record["kind"] == "rest"]
    assert told == [size for size in sizes[-2:] if size not in (8, 13)]


def test_a_lengthened_batch_has_the_rate_of_the_longer_one() -> None:
    """Bug story: it kept the rate of the batch that had failed the test."""
    loop = training(policy=Lengthens(), learning_rate=hab.LearningRate(scaling="linear"))
    run(loop, 1)
    assert loop.last_rate == pytest.approx(0.1 * 18 / 8)


@pytest.mark.parametrize("samples", [37, 50, 63])
def test_no_pass_has_one_sample_while_the_share_has_two(samples: int) -> None:
    """Bug story: batch normalisation of vectors raises an error for one sample, in a rest, a piece or an addition."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batches = hab.AdaptiveBatches(dataset(samples), 9, max_micro_batch=5)
    loop = hab.AdaptiveTraining(model, optimizer, batches, cluster=SingleProcess(), policy=hab.BigBatch(theta=0.5))
    passes = [
        len(inputs) for epoch in range(3) for step in loop.epoch(epoch) for inputs, targets in handed_out(loop, step)
    ]
    assert min(passes) >= 2
    assert loop.global_batch > 9


def handed_out(loop: hab.AdaptiveTraining, step: Step) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The micro-batches of a step, each followed by its backward pass, and the update."""
    for inputs, targets in step:
        yield inputs, targets
        step.backward(mse_loss(loop.model(inputs), targets))
    step.update()


def test_learning_rate_follows_schedule_and_policy_together(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    policy = hab.AdaBatch(factor=2, interval=1, lr_factor=0.75)
    loop = training(
        10,
        policy=policy,
        learning_rate=hab.LearningRate(decay="step", milestones=(2.0,)),
        journal=journal,
        options={"journal_every": 1},
    )
    run(loop, 4)
    rates = [
        (record["global_batch"], round(record["learning_rate"], 12))
        for record in read(tmp_path / "journal.jsonl")
        if record["kind"] == "statistics"
    ]
    expected = [(10, 0.1)] * 5 + [(20, 0.075), (30, 0.075)] + [(50, 0.005625)]  # 50 of 40: all that is left
    expected += [(50, round(0.1 * 0.1 * 0.75**3 * 50 / 80, 12))]  # cut at 50 of 80: the learning rate takes the rest
    assert rates == expected


@pytest.mark.parametrize(("kept", "expected"), [("per_epoch", [0.1, 0.1, 0.2]), ("per_step", [0.1, 0.1, 0.1])])
def test_weight_decay_follows_the_batch_across_a_restart(kept: Any, expected: list[float], tmp_path: Path) -> None:
    rule = hab.LearningRate(scaling="sqrt", weight_decay=kept)

    def loop(journal: Journal | None = None) -> hab.AdaptiveTraining:
        schedule = hab.Schedule(text="0:8 16sa:32")
        data = dataset(80)
        return training(data=data, weight_decay=0.1, policy=schedule, learning_rate=rule, journal=journal)

    def decay(of: hab.AdaptiveTraining) -> float:
        return float(of.optimizer.param_groups[0]["weight_decay"])

    found, before = [], loop(Journal(tmp_path / "journal.jsonl"))
    for steps in (1, 2, 3):
        run(before, 1, until_step=steps)
        found.append(decay(before))
    assert found == pytest.approx(expected)
    decisions = [record for record in read(tmp_path / "journal.jsonl") if record["kind"] == "decision"]
    assert [record.get("weight_decay") for record in decisions] == [0.2 if kept == "per_epoch" else None]
    after = loop()
    after.load_state_dict(before.state_dict())
    run(after, 2, until_step=4)
    assert decay(after) == pytest.approx(expected[-1])


def test_weight_decay_that_a_script_sets_itself_stays() -> None:
    loop = training(weight_decay=0.1)
    run(loop, 1, until_step=1)
    loop.optimizer.param_groups[0]["weight_decay"] = 0.3
    run(loop, 1, until_step=2)
    assert loop.optimizer.param_groups[0]["weight_decay"] == 0.3


def test_decisions_are_journalled_with_what_holds_from_there_on(tmp_path: Path) -> None:
    loop = training(
        8, max_micro_batch=6, policy=hab.AdaBatch(factor=2, interval=1), journal=Journal(tmp_path / "j.jsonl")
    )
    run(loop, 2)
    first = next(record for record in read(tmp_path / "j.jsonl") if record["kind"] == "decision")
    assert {name: first[name] for name in ("step", "cursor", "global_batch", "micro_batch", "passes")} == {
        "step": 6,
        "cursor": 50,
        "global_batch": 16,
        "micro_batch": 6,
        "passes": 3,
    }
    assert first["learning_rate"] == pytest.approx(0.075)


@pytest.mark.parametrize("at_step", [1, 6, 7, 8, 11])
def test_a_restart_at_any_step_is_exact(at_step: int) -> None:
    def loop() -> hab.AdaptiveTraining:
        return training(policy=hab.Schedule(text="0:8 30sa:21 75sa:5"), max_micro_batch=4)

    whole, part, rest = loop(), loop(), loop()
    run(whole, 3)
    run(part, 3, until_step=at_step)
    rest.load_state_dict(part.state_dict())
    run(rest, 3)
    assert rest.steps == whole.steps
    for found, expected in zip(rest.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_wrong_use_is_refused() -> None:
    loop = training()
    step = next(iter(loop.epoch(0)))
    with pytest.raises(RuntimeError, match="one backward"):
        step.backward(torch.zeros((), requires_grad=True))
    with pytest.raises(RuntimeError, match="update"):
        list(training().epoch(0))
    with pytest.raises(RuntimeError, match="not finished"):
        next(loop.epoch(2))


@pytest.mark.parametrize("policy", [hab.Fixed(), hab.BigBatch(theta=0.5)])
def test_a_parameter_that_no_pass_reaches_stays_as_in_torch(policy: hab.Policy) -> None:
    """Bug story: its gradient counted as 0, not as none, so it decayed, and its momentum went on."""
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"used": torch.nn.Linear(3, 1).double(), "unused": torch.nn.Linear(3, 1).double()})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1, momentum=0.9)
    batches = hab.AdaptiveBatches(dataset(), 10, max_global_batch=40, max_micro_batch=5)
    loop = hab.AdaptiveTraining(model, optimizer, batches, cluster=SingleProcess(), policy=policy)
    before = {name: layer.weight.detach().clone() for name, layer in model.items()}
    for epoch, name in enumerate(("used", "unused", "used")):
        other = "used" if name == "unused" else "unused"
        held = {key: layer.weight.detach().clone() for key, layer in model.items()}
        for step in loop.epoch(epoch):
            for inputs, targets in step:
                step.backward(mse_loss(model[name](inputs), targets))
            assert model[other].weight.grad is None
            step.update()
        assert torch.equal(model[other].weight, held[other])
        assert not torch.equal(model[name].weight, held[name])
    assert not torch.equal(model["unused"].weight, before["unused"])


def test_journal_lines_are_json_even_when_training_diverges(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.record("statistics", step=1, cursor=2, epoch=0, loss=float("nan"), learning_rate=float("inf"))
    line = json.loads((tmp_path / "j.jsonl").read_text(encoding="utf-8"))
    assert line["loss"] is None
    assert line["learning_rate"] is None
    journal.record("trust_ratios", step=1, cursor=2, epoch=0, ratios={"weight": float("nan"), "bias": [1.0]})
    assert read(tmp_path / "j.jsonl")[-1]["ratios"] == {"weight": None, "bias": [1.0]}


def test_a_journal_on_a_full_disk_keeps_its_lines_until_it_can_be_written(
    tmp_path: Path, small_files: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.record("a", step=0, cursor=0, epoch=0)
    with small_files(journal.position() + 10):  # ten bytes of a line reach the disk
        journal.record("b", step=1, cursor=1, epoch=0)
        journal.record("c", step=2, cursor=2, epoch=0)
        with pytest.raises(hab.StorageError, match=r"j.jsonl cannot be written: File too large"):
            journal.catch_up()
        assert (tmp_path / "j.jsonl").read_text(encoding="utf-8").count("\n") == 1
        assert (tmp_path / "j.jsonl").read_text(encoding="utf-8").endswith("\n")
    journal.record("d", step=3, cursor=3, epoch=0)
    assert [(record["kind"], record["step"]) for record in read(tmp_path / "j.jsonl")] == [
        *(("a", 0), ("b", 1)),
        *(("c", 2), ("d", 3)),
    ]
    assert capsys.readouterr().err.count("warning") == 1


def test_steps_that_were_all_skipped_have_no_loss_and_leave_the_weights(tmp_path: Path) -> None:
    """Bug story: a mean over no samples was written down as a loss of 0."""
    loop = training(25, journal=Journal(tmp_path / "j.jsonl"))
    before = [parameter.detach().clone() for parameter in loop.model.parameters()]
    for step in loop.epoch(0):
        for inputs, targets in step:
            step.backward(mse_loss(loop.model(inputs), targets) * float("inf"))
        step.update()
    assert loop.skipped == 2
    records = read(tmp_path / "j.jsonl")
    assert [record["kind"] for record in records] == ["skipped", "skipped", "statistics"]
    assert records[-1]["loss"] is None
    assert all(torch.equal(a, b) for a, b in zip(before, loop.model.parameters(), strict=True))


def test_a_long_gradient_is_shortened_after_the_average_over_passes() -> None:
    whole, parts = (training(max_micro_batch=most, options={"clip_norm": 0.05}) for most in (100, 3))
    assert run(whole, 2) == run(parts, 2)
    free = training()
    run(free, 2)
    for one, other, unclipped in zip(*(loop.model.parameters() for loop in (whole, parts, free)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
        assert (one - unclipped).norm() > 1e-3


def test_the_first_clipped_step_is_as_long_as_the_rate_times_the_limit() -> None:
    loop = training(options={"clip_norm": 0.05})
    before = torch.cat([parameter.detach().flatten() for parameter in loop.model.parameters()])
    run(loop, 1, until_step=1)
    after = torch.cat([parameter.detach().flatten() for parameter in loop.model.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.1 * 0.05, rel=1e-4)


def test_trust_ratios_are_written_down_when_asked_for(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1).double()
    optimizer = hab.LARS(hab.parameter_groups(model, weight_decay=0.0), trust_coefficient=0.01, momentum=0.0)
    loop = hab.AdaptiveTraining(
        model,
        optimizer,
        hab.AdaptiveBatches(dataset(), 10, seed=1),
        cluster=SingleProcess(),
        journal=Journal(tmp_path / "journal.jsonl"),
        options=hab.LoopOptions(journal_every=2, journal_trust_ratios=True),
    )
    weights, moved = [], []
    for step in loop.epoch(0):
        for inputs, targets in step:
            step.backward(mse_loss(model(inputs), targets))
        weights.append(model.weight.norm().item())
        before = model.weight.detach().clone()
        step.update()
        moved.append((model.weight - before).norm().item())
    told = [line for line in read(tmp_path / "journal.jsonl") if line["kind"] == "trust_ratios"]
    assert [line["step"] for line in told] == [1, 3]  # steps 2 and 4, before they are counted
    for line in told:
        assert list(line["ratios"]) == ["weight"]  # the bias does not adapt
        assert moved[line["step"]] == pytest.approx(0.01 * weights[line["step"]], rel=1e-9)
        assert line["ratios"]["weight"] > 0


class Lengthens(hab.BigBatch):
    """Five samples more for every batch of fewer than ``enough``, from the 32nd sample on."""

    enough = 13

    def extension(self, measurement: Measurement, progress: hab.Progress) -> int:
        return 5 if progress.samples_seen >= 32 and measurement.samples < self.enough else 0


def test_what_is_left_of_an_epoch_does_not_lengthen_the_next_batch() -> None:
    """Of 18 samples left 13 are asked for, which would leave five: all are taken, and 13 is the next batch."""
    loop = training(policy=Lengthens())
    assert run(loop, 1) == [8, 8, 8, 8, 18]
    assert loop.global_batch == 13


def test_a_batch_that_the_epochs_end_kept_from_passing_grows_as_far_as_it_came() -> None:
    rule = Lengthens()
    rule.enough = 100
    loop = training(policy=rule)
    assert run(loop, 1) == [8, 8, 8, 8, 18]
    assert loop.global_batch == 23


def test_the_step_found_on_what_is_left_of_an_epoch_is_not_the_next_ones_first() -> None:
    """Two steep samples in the last ten, of a batch grown to 20: their own step is short, the others' stays."""
    inputs, targets = dataset().tensors
    inputs[permutation(1, 0, 50)[-2:]] *= 100
    policy = hab.Schedule(text="0:8 40sa:20")
    loop = training(data=TensorDataset(inputs, targets), policy=policy, step_size=hab.Armijo(0.125))
    rates = []
    for step in loop.epoch(0):
        for batch, wanted in step:
            step.backward(mse_loss(loop.model(batch), wanted))
        step.update()
        rates.append(loop.last_rate)
    assert rates[-1] < rates[-2] / 100
    assert isinstance(loop.line_search, LineSearch)
    assert loop.line_search.rule.alpha == rates[-2]


def test_a_step_that_was_left_is_not_gone_on_from() -> None:
    """Bug story: the gradients of its passes were summed into the next step."""
    loop = training(max_micro_batch=4)
    for step in loop.epoch(0):
        inputs, targets = next(iter(step))
        step.backward(mse_loss(loop.model(inputs), targets))
        break
    with pytest.raises(RuntimeError, match="left without update"):
        next(loop.epoch(0))


def test_a_search_that_is_left_gives_weights_and_autograd_back() -> None:
    loop = training(step_size=hab.Armijo(0.125))
    before = [parameter.detach().clone() for parameter in loop.model.parameters()]

    def failing() -> None:
        for step in loop.epoch(0):
            for number, (inputs, targets) in enumerate(step):
                if number == 1:
                    raise KeyError("the caller's own")
                step.backward(mse_loss(loop.model(inputs), targets))

    with pytest.raises(KeyError):
        failing()
    gc.collect()  # the traceback holds the loop
    assert torch.is_grad_enabled()
    assert all(torch.equal(a, b) for a, b in zip(before, loop.model.parameters(), strict=True))


def test_a_group_that_is_frozen_is_no_group_of_the_noise() -> None:
    """Bug story: an IndexError where the first group was frozen."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)).double()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.SGD([{"params": layer.parameters()} for layer in model], lr=0.1)
    batches = hab.AdaptiveBatches(dataset(), 8, max_micro_batch=4)
    loop = hab.AdaptiveTraining(model, optimizer, batches, cluster=SingleProcess(), policy=hab.NormTest())
    run(loop, 1)
    assert loop.measuring.measurements == 1
    model.requires_grad_(False)
    again = hab.AdaptiveBatches(dataset(), 8, max_micro_batch=4)
    with pytest.raises(hab.InputError, match="no parameter that is trained"):
        hab.AdaptiveTraining(model, optimizer, again, cluster=SingleProcess(), policy=hab.NormTest())


def test_the_update_comes_after_the_loop_over_the_micro_batches() -> None:
    loop = training(max_micro_batch=4)
    step = next(iter(loop.epoch(0)))
    inputs, targets = next(iter(step))
    step.backward(mse_loss(loop.model(inputs), targets))
    with pytest.raises(RuntimeError, match="after the loop over all micro-batches"):
        step.update()


def test_a_micro_batch_without_a_loss_is_no_part_of_a_mean() -> None:
    """Read ahead, the losses would be weighted by the samples of other micro-batches."""
    step = next(iter(training(max_micro_batch=4).epoch(0)))
    with pytest.raises(RuntimeError, match="the last one had none"):
        list(step)


def test_after_the_loop_the_gradient_is_the_mean_and_the_step_hands_out_nothing_more() -> None:
    loop = training(max_micro_batch=3)
    step = next(iter(loop.epoch(0)))
    for inputs, targets in step:
        step.backward(mse_loss(loop.model(inputs), targets))
    inputs, targets = (field[permutation(1, 0, 50)[:8]] for field in dataset().tensors)
    expected = torch.autograd.grad(mse_loss(loop.model(inputs), targets), list(loop.model.parameters()))
    for parameter, wanted in zip(loop.model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-12, atol=1e-14)
    with pytest.raises(RuntimeError, match="once"):
        next(iter(step))
    step.update()
    with pytest.raises(RuntimeError, match="twice"):
        step.update()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"clip_norm": -1.0}, "clip_norm: given -1.0; allowed: more than 0, or null; type --clip_norm 1"),
        ({"max_skipped": 0}, "max_skipped: given 0; allowed: 1 or more; type --max_skipped 100"),
        ({"max_skipped": None}, "max_skipped: given None; allowed: 1 or more; type --max_skipped 100"),
        ({"journal_every": 0}, "journal_every: given 0; allowed: 1 or more; type --journal_every 10"),
        ({"measure_every": 0}, "measure_every: given 0; allowed: 1 or more, or null; type --measure_every 10"),
        ({"compression": "fp17"}, "compression: given fp17; allowed: none, fp16; type --compression fp16"),
        ({"journal_trust_ratios": True}, "journal_trust_ratios: given True; allowed: false with optimizer SGD"),
        ({"clip_norm": "long"}, "clip_norm: given long; allowed: more than 0, or null; type --clip_norm 1"),
        ({"journal_every": 2.5}, "journal_every: given 2.5; allowed: 1 or more; type --journal_every 10"),
        ({"split_passes": "no"}, "split_passes: given no; allowed: true or false; type --split_passes true"),
        ({"statistics_budget": float("nan")}, "statistics_budget: given nan; allowed: more than 0, at most 1"),
    ],
)
def test_a_script_gets_the_same_line_as_a_recipe(options: dict[str, Any], line: str) -> None:
    with pytest.raises(hab.InputError) as caught:
        training(options=options)
    assert str(caught.value).startswith(line)


def test_clipping_is_refused_where_the_step_is_searched() -> None:
    with pytest.raises(hab.InputError, match="searches its steps along the whole gradient"):
        training(step_size=hab.Armijo(0.1), options={"clip_norm": 1.0})


def test_replay_with_adascale_needs_nothing_measured(tmp_path: Path) -> None:
    """Bug story: refused on one rank with one pass that may not be split, though a journal brings the noise."""
    rule, once = hab.LearningRate(scaling="adascale"), {"split_passes": False}
    with pytest.raises(hab.InputError, match="split_passes"):
        training(learning_rate=rule, options=once)
    first = training(learning_rate=rule, journal=Journal(tmp_path / "journal.jsonl"), options={"measure_every": 2})
    first.record("start", **first.holding())
    run(first, 1)
    replay = hab.Replay(journal=str(tmp_path / "journal.jsonl"))
    assert len(run(training(policy=replay, learning_rate=rule, options=once), 1)) == 6


@pytest.mark.parametrize("every", [1, 2, None])
def test_steps_are_timed_though_all_of_them_measure(every: int | None) -> None:
    """Bug story: with measure_every 1 no step was timed, and goodput never moved."""
    policy = hab.Goodput(dwell=10**6)
    loop = training(10, 5, policy=policy, options={"measure_every": every})
    run(loop, 2)
    assert loop.progress.step_seconds.keys() == loop.progress.pass_seconds.keys() == {10}
    assert 0 < loop.progress.pass_seconds[10] < loop.progress.step_seconds[10]
