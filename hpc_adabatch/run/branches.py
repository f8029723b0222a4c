"""The critical batch, measured by branches that start from the same weights.

Each branch trains the same samples at k times the batch; the critical batch is the largest whose loss is not worse
(Merrill et al. 2025, https://arxiv.org/abs/2505.23971). It is a measurement, where the noise scale is a model.

    learning rate    times k with SGD, whose step shortens with its noise (Goyal et al. 2017, 1706.02677, section 2.1);
                     times sqrt(k) where its length depends on the rate alone: Adam as in the paper, LAMB, LARS; or
                     as ``learning_rate.scaling`` of the run says, linear or sqrt
    weight decay,    as ``learning_rate.weight_decay`` and ``learning_rate.beta2`` of the run have them at that batch
    beta2

One order of the samples tells little: two branches of the same batch differ by as much as one batch from the next.
Several orders are trained in pairs: branch k and the first branch see the same samples in the same order, and the mean
of their losses' differences has an interval of Student's t.
"""

from __future__ import annotations

import copy
import math
import statistics
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
    losses: tuple[float, ...]
    """The test losses after them, one for each order of the samples."""

    @property
    def loss(self) -> float:
        """Returns the mean test loss."""
        return sum(self.losses) / len(self.losses)

    def above(self, first: Branch) -> tuple[float, float]:
        """Returns how far the loss lies above that of another branch: the mean over orders, and half its 95 % interval.

        The second is 0 where there is one order, about which it tells nothing.
        """
        differences = [own - other for own, other in zip(self.losses, first.losses, strict=True)]
        if len(differences) < 2:
            return differences[0], 0.0
        from scipy.stats import t  # half a second

        quantile = float(t.ppf(0.975, len(differences) - 1))
        return statistics.mean(differences), quantile * statistics.stdev(differences) / math.sqrt(len(differences))


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
    *,
    orders: int = 1,
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
        orders: The orders of the samples, for each of which every branch is trained.
    """
    first = recipe.options.seed
    found = [_train(recipe, data, model, state, multiples, epochs, cluster, first + n) for n in range(orders)]
    return [replace(of[0], losses=tuple(branch.loss for branch in of)) for of in zip(*found, strict=True)]


def _train(
    recipe: Recipe,
    data: TaskData,
    model: nn.Module,
    state: dict[str, Any] | None,
    multiples: Sequence[int],
    epochs: float,
    cluster: Cluster,
    seed: int,
) -> list[Branch]:
    """Returns the branches of one order of the samples."""
    branches = []
    start = branch_batch(recipe, state)
    rule = branch_rates(recipe, start)
    for multiple in multiples:
        batch = multiple * start
        options = replace(recipe.options, global_batch=batch, max_global_batch=batch, min_global_batch=None, seed=seed)
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
        branches.append(Branch(multiple, batch, rate, training.steps, seen, (scores["loss"],)))
    return branches


def branch_rates(recipe: Recipe, global_batch: int) -> LearningRate:
    """Returns how learning rate and weight decay of the branches follow their batch.

    Args:
        recipe: The recipe of the run.
        global_batch: The batch of the run at the branches' beginning, in samples.
    """
    scaling = recipe.learning_rate.scaling
    if scaling not in ("linear", "sqrt"):
        scaling = "sqrt" if recipe.optimizer.normalises else "linear"
    own = recipe.learning_rate
    return LearningRate(scaling=scaling, reference_batch=global_batch, weight_decay=own.weight_decay, beta2=own.beta2)


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
    above = [branch.above(first) for branch in branches]
    good = [math.isfinite(branch.loss) and branch.loss <= first.loss * (1 + tolerance) for branch in branches]
    several = len(first.losses) > 1
    rows = [
        (
            str(branch.multiple),
            str(branch.global_batch),
            f"x{branch.rate:.3g}",
            str(branch.updates),
            str(branch.samples),
            f"{branch.loss:.4f}",
            *([f"{mean:+.4f} ± {half:.4f}"] if several else []),
            "yes" if fits else "no",
        )
        for branch, (mean, half), fits in zip(branches, above, good, strict=True)
    ]
    more_headings = ("above the first",) if several else ()
    headings = ("k", "batch", "learning rate", "updates", "samples", "test loss", *more_headings, "within tolerance")
    shown = table(headings, rows, title="branches from the same weights")
    holding = len(list(takewhile(bool, good)))  # up to the first that is worse
    critical = branches[max(holding, 1) - 1].global_batch
    more = " or more" if holding == len(branches) else ""
    told = f"critical batch by branches: {critical}{more}, at a tolerance of {tolerance:.1%}"
    allowed = first.loss * tolerance
    unsure = [
        str(b.global_batch) for b, (mean, half) in zip(branches, above, strict=True) if abs(mean - allowed) < half
    ]
    if several and unsure:
        told += f"; the 95 % intervals of {', '.join(unsure)} leave it open"
    return [shown, told]


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
