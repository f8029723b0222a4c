"""Habits from other training scripts: each is refused in words that name the call to make, and none is silent."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.training.arguments import check_layers

DRAW = torch.Generator().manual_seed(0)
DATA = TensorDataset(torch.randn(64, 3, generator=DRAW), torch.randn(64, 1, generator=DRAW))


def training(**given: Any) -> hab.AdaptiveTraining:
    """Four passes to a batch of 16; what is given stands for the argument of that name."""
    model = torch.nn.Linear(3, 1)
    arguments = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "batches": hab.AdaptiveBatches(DATA, 16, max_micro_batch=4),
        "cluster": SingleProcess(),
    }
    return hab.AdaptiveTraining(**arguments | given)  # type: ignore[arg-type]


Pass = Callable[[hab.AdaptiveTraining, Any, torch.Tensor], object]
After = Callable[[hab.AdaptiveTraining, Any], object]


def loss_of(loop: hab.AdaptiveTraining, sample: Any) -> torch.Tensor:
    return (loop.model(sample[0]) - sample[1]).square().mean()


def an_epoch(loop: hab.AdaptiveTraining, epoch: int = 0) -> None:
    for step in loop.epoch(epoch):
        for sample in step:
            step.backward(loss_of(loop, sample))
        step.update()


def backward(_loop: hab.AdaptiveTraining, step: Any, loss: torch.Tensor) -> None:
    step.backward(loss)


def update(_loop: hab.AdaptiveTraining, step: Any) -> None:
    step.update()


def carry_out(loop: hab.AdaptiveTraining, each_pass: Pass, after: After, passes: int = 4) -> None:
    """An epoch in which each pass, and what comes after the passes, is as given."""
    for step in loop.epoch(0):
        for sample in islice(step, passes) if passes < 4 else step:
            each_pass(loop, step, loss_of(loop, sample))
        after(loop, step)


PASSES: dict[str, tuple[Pass, str]] = {  # what is done in each pass, and what is said
    "loss.backward()": (lambda _loop, _step, loss: loss.backward(), r"one backward\(loss\) for each micro-batch"),
    "no backward": (lambda _loop, _step, _loss: None, r"one backward\(loss\) for each micro-batch"),
    "backward twice": (lambda _loop, step, loss: (step.backward(loss), step.backward(loss)), "one backward"),
    "zero_grad": (
        lambda loop, step, loss: (loop.optimizer.zero_grad(), step.backward(loss)),
        r"changed between the passes.*zero_grad\(\) belongs to step.update",
    ),
    "zeros": (
        lambda loop, step, loss: (loop.optimizer.zero_grad(set_to_none=False), step.backward(loss)),
        "changed between the passes",
    ),
    "clipped": (
        lambda loop, step, loss: (
            step.backward(loss),
            torch.nn.utils.clip_grad_norm_(loop.model.parameters(), 0.01),
        ),
        r"changed between the passes.*clipping to options=LoopOptions\(clip_norm",
    ),
    "optimizer.step()": (
        lambda loop, step, loss: (step.backward(loss), loop.optimizer.step()),
        r"optimizer.step\(\) is called by step.update",
    ),
    "a number": (lambda _loop, step, loss: step.backward(loss.item()), r"^loss: given float; .*type loss.mean\(\)"),
    "a loss for each": (lambda _loop, step, loss: step.backward(loss.expand(4)), r"^loss: given .* shape \(4,\)"),
    "detached": (lambda _loop, step, loss: step.backward(loss.detach()), "^loss: given a tensor without a graph"),
    "another model's": (
        lambda _loop, step, _loss: step.backward(torch.nn.Linear(1, 1)(torch.ones(1)).sum()),
        "no parameter has a gradient: the losses are not of the model",
    ),
}


@pytest.mark.parametrize("habit", PASSES)
def test_what_is_done_in_a_pass(habit: str) -> None:
    do, said = PASSES[habit]
    with pytest.raises((RuntimeError, hab.InputError), match=said):
        carry_out(training(), do, update)


AFTER: dict[str, tuple[After, str]] = {  # the loop over the passes
    "optimizer.step()": (lambda loop, step: (loop.optimizer.step(), step.update()), "is called by step.update"),
    "step() after": (lambda loop, step: (step.update(), loop.optimizer.step()), "is called by step.update"),
    "zero_grad()": (lambda loop, step: (loop.optimizer.zero_grad(), step.update()), "which calls it itself"),
    "twice": (lambda _loop, step: (step.update(), step.update()), "called twice"),
    "no update": (lambda _loop, _step: None, r"step.update\(\) was not called"),
    "the passes again": (lambda _loop, step: list(step), "hands out its micro-batches once"),
    "a scheduler": (
        lambda loop, step: (step.update(), torch.optim.lr_scheduler.StepLR(loop.optimizer, 1, 0.1).step()),
        r"^lr: given 0.01, set by a scheduler or by hand; .*type learning_rate=LearningRate\(",
    ),
    "lr by hand": (lambda loop, step: (step.update(), loop.optimizer.param_groups[0].update(lr=1.0)), "^lr: given 1"),
    "a group more": (
        lambda loop, step: (
            step.update(),
            loop.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]}),
        ),
        "^optimizer: given 2 groups; allowed: the 1 that it had",
    ),
}


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("habit", AFTER)
def test_what_is_done_after_the_passes(habit: str) -> None:
    do, said = AFTER[habit]
    with pytest.raises((RuntimeError, hab.InputError), match=said):
        carry_out(training(), backward, do)


@pytest.mark.parametrize("passes", [0, 1])
def test_the_loop_is_left_early_or_not_entered(passes: int) -> None:
    with pytest.raises(RuntimeError, match="comes after the loop over all micro-batches"):
        carry_out(training(), backward, update, passes)


def test_what_may_be_done_to_the_mean_is_done() -> None:
    """After the passes p.grad is the mean over the batch: it may be looked at, and changed."""
    loop, before = training(), []
    for step in loop.epoch(0):
        for sample in step:
            step.backward(loss_of(loop, sample))
        torch.nn.utils.clip_grad_norm_(loop.model.parameters(), 1e-9)
        before.append(loop.model.weight.detach().clone())  # type: ignore[operator]
        step.update()
    assert all(torch.allclose(before[0], weight, atol=1e-6) for weight in before)
    loop.optimizer.step()  # when training is over the optimizer is the script's own again


def sgd(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def other() -> torch.optim.Optimizer:
    return sgd(torch.nn.Linear(3, 1))


def sparse() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Embedding(5, 3, sparse=True))


class Summing(torch.optim.SGD):
    """As Horovod's optimizer looks."""

    def synchronize(self) -> None:
        """Sums."""

    def skip_synchronize(self) -> None:
        """Sums not."""


ARGUMENTS: dict[str, tuple[str, Callable[[], Any], str]] = {
    "a DataLoader": (
        "batches",
        lambda: DataLoader(DATA, 16, collate_fn=list),
        r"given DataLoader.*type AdaptiveBatches\(loader.dataset, 64, collate=loader.collate_fn\)",
    ),
    "a sampler": (
        "batches",
        lambda: WeightedRandomSampler([1.0] * 64, 64),
        r"given WeightedRandomSampler.*type AdaptiveBatches\(dataset, 64, weights=sampler.weights\)",
    ),
    "a dataset": ("batches", lambda: DATA, r"given TensorDataset.*type AdaptiveBatches\(dataset, 64\)"),
    "a rule's name": ("policy", lambda: "adabatch", r"given str: 'adabatch'.*type policy=AdaBatch\(\)"),
    "a rule's class": ("policy", lambda: hab.NoiseScale, r"given the class NoiseScale.*type policy=NoiseScale\(\)"),
    "a number": ("learning_rate", lambda: 0.1, r"given float: 0.1.*type learning_rate=LearningRate\("),
    "a scheduler": (
        "learning_rate",
        lambda: torch.optim.lr_scheduler.StepLR(other(), 1),
        r"given StepLR.*type learning_rate=LearningRate\(",
    ),
    "a path": ("journal", lambda: "journal.jsonl", r"given str.*type journal=Journal\(path\)"),
    "an optimizer": ("model", other, r"given SGD.*type AdaptiveTraining\(model, optimizer, batches"),
    "a model": ("optimizer", lambda: torch.nn.Linear(3, 1), r"given Linear.*type AdaptiveTraining\(model, optimizer"),
    "another's": ("optimizer", other, r"given SGD of other parameters.*type SGD\(model.parameters\(\)"),
    "Horovod's": (
        "optimizer",
        lambda: Summing(torch.nn.Linear(3, 1).parameters(), lr=0.1),
        "given hvd.DistributedOptimizer; allowed: the optimizer that hvd",
    ),
    "a step size": ("step_size", lambda: 0.1, r"given float.*type step_size=Armijo\("),
    "no ranks": ("cluster", lambda: None, r"given NoneType.*type cluster=hab.Cluster.start\(\)"),
    "a class of ranks": (
        "cluster",
        lambda: hab.Cluster,
        r"given the class Cluster.*type cluster=hab.Cluster.start\(\)",
    ),
    "options in a dict": ("options", lambda: {"clip_norm": 1.0}, r"given dict.*type options=LoopOptions\("),
    "true": ("scaler", lambda: True, r"given bool: True.*type scaler=torch.amp.GradScaler\("),
    "yes": ("stop_flag", lambda: True, r"given bool: True.*type stop_flag=StopFlag\(\)"),
    "a list": ("groups", list, r"given list: \[\].*type groups=\{"),
    "sparse gradients": ("model", sparse, r"given 0, a layer with sparse gradients.*type sparse=False"),
    "LBFGS": (
        "optimizer",
        lambda: torch.optim.LBFGS(torch.nn.Linear(3, 1).parameters()),
        "given LBFGS; allowed: one that takes its step along the gradient there is",
    ),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_an_argument_of_another_kind(case: str) -> None:
    name, make, said = ARGUMENTS[case]
    with pytest.raises(hab.InputError, match=rf"^{name}: {said}"):
        training(**{name: make()})


class Ragged(Dataset[torch.Tensor]):
    """Sequences of different lengths, which a collate_fn would pad."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.zeros(3 + index // 4)


def test_samples_of_several_shapes_ask_for_a_collate_function() -> None:
    with pytest.raises(hab.InputError, match=r"samples of shapes \((3|4),\) and .* or a collate function .*collate="):
        carry_out(training(batches=hab.AdaptiveBatches(Ragged(), 8)), backward, update)


def test_a_layer_that_sums_over_ranks_by_itself() -> None:
    """On several ranks it was plain batch normalisation, without a word; under torch's engine it may wait for ever."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    check_layers(model, 2)
    synced = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    check_layers(synced, 1)
    with pytest.raises(hab.InputError, match=r"^model.1: given SyncBatchNorm on 2 ranks; allowed: BatchNorm, whose"):
        check_layers(synced, 2)


def test_batches_that_another_training_has_begun() -> None:
    first = training()
    an_epoch(first)
    with pytest.raises(hab.InputError, match=r"^batches: given those of another training"):
        training(batches=first.batches)


def test_epochs_again_backwards_and_from_one() -> None:
    loop = training()
    with pytest.raises(RuntimeError, match=r"epochs count from 0"):
        an_epoch(loop, 1)
    with pytest.raises(hab.InputError, match=r"^epoch: given -1; allowed: 0 or more"):
        an_epoch(loop, -1)
    an_epoch(loop)
    with pytest.raises(RuntimeError, match=r"epoch 0 was trained already; the next one is 1"):
        an_epoch(loop)
    resumed = training()
    resumed.load_state_dict(loop.state_dict())
    an_epoch(resumed, 0)  # which the state has finished: a loop over range(epochs) goes on
    assert resumed.steps == loop.steps
    an_epoch(resumed, 1)
    assert resumed.steps == 2 * loop.steps


def test_epochs_that_are_no_numbers() -> None:
    for wrong in (0.5, None, "0"):
        with pytest.raises(hab.InputError, match=r"^epoch: given .*; allowed: 0 or more"):
            an_epoch(training(), wrong)  # type: ignore[arg-type]


def test_a_layer_that_is_replaced() -> None:
    loop = training(model=(model := torch.nn.Sequential(torch.nn.Linear(3, 1))), optimizer=sgd(model))
    an_epoch(loop)
    model[0] = torch.nn.Linear(3, 1)  # which no optimizer has
    with pytest.raises(hab.InputError, match=r"^model: given other parameters than at the start"):
        an_epoch(loop, 1)


def test_the_state_of_another_rule() -> None:
    state = training(policy=hab.AdaBatch()).state_dict()
    with pytest.raises(hab.InputError, match=r"^policy: given Fixed; allowed: AdaBatch, .*type policy=AdaBatch\(\)"):
        training().load_state_dict(state)


def test_the_first_step_that_is_skipped_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    loop = training()
    for step in loop.epoch(0):
        for sample in step:
            step.backward(loss_of(loop, sample) * math.nan)
        step.update()
    assert loop.skipped == 4
    assert capfd.readouterr().err.count("step 1 was skipped: a loss or a gradient is not finite") == 1
