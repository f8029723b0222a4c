"""The critical batch, measured by branches that start from the same weights.

Each branch trains the same samples at k times the batch; the critical batch is the largest whose loss is not worse
(Merrill et al. 2025, https://arxiv.org/abs/2505.23971). It is a measurement, where the noise scale is a model.

    learning rate    times k with SGD, whose step shortens with its noise (Goyal et al. 2017, 1706.02677, section 2.1);
                     times sqrt(k) where its length depends on the rate alone: LAMB as Adam in the paper, LARS; or as
                     ``learning_rate.scaling`` of the run says, linear or sqrt
    weight decay     as ``learning_rate.weight_decay`` of the run has it at that batch
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any

import torch
from rich.console import RenderableType
from torch import nn

from ..cluster import Cluster
from ..errors import require
from ..learning_rate import LearningRate
from ..policies import Fixed
from ..recipe import Recipe
from ..tasks import TaskData
from ..terminal import table
from ..training import AdaptiveTraining, LoopOptions
from .build import Forward, loss_scaler
from .evaluation import evaluate
from .loop import train


@dataclass(frozen=True)
class Branch:
    """A branch as it was trained."""

    multiple: int
    """The batch / that of the run (k)."""
    global_batch: int
    """The samples of a step, over all ranks."""
    rate: float
    """The learning rate / that of the run."""
    updates: int
    """The steps."""
    samples: int
    """The samples that it trained on."""
    loss: float
    """The test loss after them."""


def possible(multiples: Sequence[int], global_batch: int, epochs: float, n_samples: int) -> list[int]:
    """Returns the multiples of a batch that a branch can take at least one whole step of.

    Args:
        multiples: The values of k.
        global_batch: The batch of the run, in samples.
        epochs: The length of a branch.
        n_samples: The length of the training set.

    Raises:
        InputError: None of them can be taken.
    """
    samples = int(min(1.0, epochs) * n_samples)
    least = f"{global_batch / n_samples:.3g} or more, one batch of {global_batch}"
    require(samples >= global_batch, "branch_epochs", epochs, least, "--branch_epochs 1")
    taken = [k for k in multiples if k * global_batch <= samples]
    most = samples // global_batch
    allowed = f"one up to {most} at least, as a branch has {samples} samples and the batch {global_batch}"
    require(
        bool(taken), "branches", list(multiples), allowed, f"--branches [1,{most}]" if most > 1 else "--branches [1]"
    )
    return taken


def train_branches(
    recipe: Recipe,
    data: TaskData,
    model: nn.Module,
    state: dict[str, Any] | None,
    multiples: Sequence[int],
    epochs: float,
    cluster: Cluster,
) -> list[Branch]:
    """Returns the branches after training the same samples at each multiple k of the batch.

    Args:
        recipe: The recipe, whose optimizer is used.
        data: The task's data.
        model: The network, whose weights every branch starts from.
        state: The checkpoint with the batch, rates and momentum to start from; None for the recipe's, at its peak.
        multiples: The values of k; ``possible`` tells which.
        epochs: The length of a branch.
        cluster: The ranks.
    """
    branches = []
    start = branch_batch(recipe, state)
    rule = branch_rates(recipe, start)
    for multiple in multiples:
        batch = multiple * start
        options = replace(recipe.options, global_batch=batch, max_global_batch=batch, min_global_batch=None)
        branch = replace(recipe, options=options, policy=Fixed(), learning_rate=rule)
        network = copy.deepcopy(model)
        optimizer = branch.optimizer.build(network)
        _set_rates(optimizer, recipe, state)  # AdaptiveTraining keeps them as the base, and scales them for each step
        training = AdaptiveTraining(
            network,
            optimizer,
            branch.batches(data),
            cluster=cluster,
            learning_rate=rule,
            scaler=loss_scaler(recipe, cluster.device),
            options=LoopOptions(clip_norm=recipe.options.clip_norm),
        )
        if state is not None:
            training.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # its momentum, which torch shares
            if state["scaler"] is not None:
                training.scaler.load_state_dict(state["scaler"])
        forward = Forward(network, recipe, cluster.device)
        wanted = epochs * training.plan.n_samples
        network.train()
        loss = partial(_loss, recipe, forward)
        for _ in train(training, range(math.ceil(epochs)), loss):
            if training.plan.samples_seen >= wanted:
                break
        training.average_buffers()
        size, workers = recipe.options.evaluation_batch, recipe.options.workers
        scores = evaluate(network, forward, recipe.task, data, cluster, batch=size, workers=workers)
        rate, seen = rule.multiplier(0, 1, batch, batch), training.plan.samples_seen
        branches.append(Branch(multiple, batch, rate, training.steps, seen, scores["loss"]))
    return branches


def branch_rates(recipe: Recipe, global_batch: int) -> LearningRate:
    """Returns how learning rate and weight decay of the branches follow their batch.

    Args:
        recipe: The recipe of the run.
        global_batch: The batch of the run at the branches' beginning, in samples.
    """
    scaling = recipe.learning_rate.scaling
    if scaling not in ("linear", "sqrt"):
        scaling = "sqrt" if recipe.optimizer.has_trust_ratios else "linear"
    return LearningRate(scaling=scaling, reference_batch=global_batch, weight_decay=recipe.learning_rate.weight_decay)


def branch_batch(recipe: Recipe, state: dict[str, Any] | None) -> int:
    """Returns the batch that the checkpoint had come to, or the recipe's where there is none."""
    return recipe.global_batch if state is None else int(state["global_batch"])


def branch_table(branches: Sequence[Branch], tolerance: float) -> list[RenderableType]:
    """Returns the branches as a table, and the critical batch that they tell.

    Args:
        branches: The branches, from the smallest batch on.
        tolerance: The part by which a loss may lie above the first one.
    """
    first = branches[0]
    good = [math.isfinite(b.loss) and b.loss <= first.loss * (1 + tolerance) for b in branches]
    rows = [
        (
            str(branch.multiple),
            str(branch.global_batch),
            f"x{branch.rate:.3g}",
            str(branch.updates),
            str(branch.samples),
            f"{branch.loss:.4f}",
            "yes" if fits else "no",
        )
        for branch, fits in zip(branches, good, strict=True)
    ]
    headings = ("k", "batch", "learning rate", "updates", "samples", "test loss", "within tolerance")
    shown = table(headings, rows, title="branches from the same weights")
    holding = len(list(takewhile(bool, good)))  # up to the first that is worse
    critical = branches[max(holding, 1) - 1].global_batch
    more = " or more" if holding == len(branches) else ""
    return [shown, f"critical batch by branches: {critical}{more}, at a tolerance of {tolerance:.1%}"]


def _set_rates(optimizer: torch.optim.Optimizer, recipe: Recipe, state: dict[str, Any] | None) -> None:
    """Sets what the run has at the branches' beginning: as saved, else the recipe's after its warm-up."""
    if state is not None:
        for group, saved in zip(optimizer.param_groups, state["optimizer"]["param_groups"], strict=True):
            group["lr"], group["weight_decay"] = saved["lr"], saved["weight_decay"]
        return
    batch, rule = recipe.global_batch, recipe.learning_rate
    warm = replace(rule, warmup="none", warmup_epochs=0.0, decay="constant", milestones=())
    for group in optimizer.param_groups:
        group["lr"] *= warm.multiplier(0, 1, batch, batch)
        group["weight_decay"] *= rule.weight_decay_multiplier(batch, batch)


def _loss(recipe: Recipe, forward: Forward, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return recipe.task.loss(forward(inputs), targets)
