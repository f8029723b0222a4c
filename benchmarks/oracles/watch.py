"""Runs the package's loop as a script would, and keeps what it handed out, what it applied, what it measured.

The samples carry their numbers as a third column, so an oracle is told which samples came in which pass of which rank,
and needs to know nothing of how the package cuts and shuffles.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

from .problem import Problem, network


@dataclass(kw_only=True)
class Pass:
    """The samples of one pass of one rank."""

    rank: int
    samples: list[int]
    batch: int
    """The batch when the pass was handed out: later passes of a batch that is lengthened have a larger one."""


@dataclass(kw_only=True)
class Taken:
    """A step of the package's loop."""

    epoch: int
    passes: list[Pass]
    """Of all ranks, one rank after another."""
    gradient: torch.Tensor
    """What ``p.grad`` held between the passes and the update. Shape (parameters,)."""
    batch: int
    lr: float
    decay: float
    loss: float
    skipped: bool
    last: Any
    """The measurement of the step, where it was measured."""
    estimate: Any
    """The averages over measurements after the step."""
    step_size: float | None
    """What the search for the step size has come to."""

    @property
    def pieces(self) -> list[list[int]]:
        """Returns the samples of each pass."""
        return [one.samples for one in self.passes]

    @property
    def samples(self) -> list[int]:
        """Returns the samples of the batch."""
        return [sample for piece in self.pieces for sample in piece]


@dataclass(kw_only=True)
class Run:
    """A run of the package's loop."""

    problem: Problem
    training: hab.AdaptiveTraining
    rule: hab.Policy
    steps: list[Taken] = field(default_factory=list)

    def weights(self) -> torch.Tensor:
        """Returns the last weights. Shape (parameters,)."""
        return torch.cat([parameter.detach().flatten() for parameter in self.training.model.parameters()])

    def firsts(self) -> list[Taken]:
        """Returns the first step of each epoch."""
        return [step for n, step in enumerate(self.steps) if n == 0 or step.epoch != self.steps[n - 1].epoch]

    def decided(self, of: Callable[[Taken], float]) -> list[float]:
        """Returns a number of the first step of each epoch."""
        return [of(step) for step in self.firsts()]


def watch(
    cluster: hab.Cluster,
    problem: Problem,
    *,
    batch: int,
    epochs: int = 1,
    clock: float | None = None,
    micro: int = 4,
    lr: float = 0.05,
    largest: int | None = None,
    least: int | None = None,
    optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer] | None = None,
    rule: Callable[[], hab.Policy] = hab.Fixed,
    rate: hab.LearningRate | None = None,
    search: Callable[[], hab.Armijo] | None = None,
    every: int | None = 1,
    spoiled: Collection[int] = (),
    restarts: Collection[int] = (),
    until: Callable[[Run], bool] = lambda _: False,
) -> Run:
    """Trains the problem's network with the package.

    Args:
        cluster: the ranks.
        problem: the samples.
        batch: the global batch at step 0.
        epochs: number of passes over the data.
        clock: epochs on the schedule's clock instead.
        micro: most samples of a pass.
        lr: the base learning rate of SGD without momentum, where no optimizer is given.
        largest: the largest batch; the training set when not given.
        least: the smallest batch; ``batch`` when not given.
        optimizer: makes the optimizer of a network.
        rule: makes the rule for the batch.
        rate: the schedule of the learning rate; constant when not given.
        search: makes the rule that searches the step size.
        every: steps from one measurement to the next.
        spoiled: steps in which the loss of one rank's last pass is infinite.
        restarts: steps after which everything is built anew from ``state_dict``.
        until: ends the run early, when true after a step.
    """
    numbered = TensorDataset(problem.inputs, problem.targets, torch.arange(problem.samples))

    def built() -> Run:
        model, policy = network().to(cluster.device), rule()
        training = hab.AdaptiveTraining(
            model,
            optimizer(model) if optimizer else torch.optim.SGD(model.parameters(), lr=lr),
            hab.AdaptiveBatches(
                numbered, batch, max_global_batch=largest, min_global_batch=least, max_micro_batch=micro, seed=3
            ),
            cluster=cluster,
            policy=policy,
            learning_rate=rate,
            step_size=search() if search else None,
            options=hab.LoopOptions(measure_every=every),
        )
        return Run(problem=problem, training=training, rule=policy)

    def ahead(training: hab.AdaptiveTraining) -> int | None:
        return next(iter(training.epochs(clock) if clock else range(training.next_epoch, epochs)), None)

    run = built()
    while (epoch := ahead(run.training)) is not None:
        for step in run.training.epoch(epoch):
            number = len(run.steps)
            run.steps.append(_step(cluster, run.training, step, spoils=number in spoiled))
            if until(run):
                return run
            if number in restarts:
                kept = io.BytesIO()
                torch.save(run.training.state_dict(), kept)
                kept.seek(0)
                steps, run = run.steps, built()
                run.training.load_state_dict(torch.load(kept, weights_only=True))
                run.steps = steps
                break
    return run


def _step(cluster: hab.Cluster, training: hab.AdaptiveTraining, step: Any, *, spoils: bool) -> Taken:
    """Takes one step, as a user's script does, and gathers what all ranks saw of it."""
    own: list[Pass] = []
    seen: set[int] = set()
    skipped = training.skipped
    for inputs, targets, numbers in step:
        loss = mse_loss(training.model(inputs), targets)
        step.backward(loss * torch.inf if spoils and cluster.rank == cluster.size - 1 else loss)
        if not seen.issuperset(numbers.tolist()):  # a search for the step size sees the same samples again
            own.append(Pass(rank=cluster.rank, samples=numbers.tolist(), batch=len(step.batch)))
            seen.update(numbers.tolist())
    gradients = [parameter.grad.flatten().clone() for parameter in training.model.parameters()]
    measured = training.measuring.active
    step.update()
    group = training.optimizer.param_groups[0]
    return Taken(
        epoch=step.batch.epoch,
        passes=[one for passes in cluster.gather(own) for one in passes],
        gradient=torch.cat(gradients),
        batch=len(step.batch),
        lr=group["lr"],
        decay=group["weight_decay"],
        loss=step.loss,
        skipped=training.skipped > skipped,
        last=training.measuring.last if measured else None,
        estimate=training.measuring.estimate,
        step_size=training.line_search.rule.alpha if training.line_search.rule else None,
    )
