"""The critical batch, measured by branches that start from the same weights.

Each branch trains the same samples at k times the batch and sqrt(k) times the learning rate; the critical batch is the
largest whose loss is not worse (Merrill et al. 2025, https://arxiv.org/abs/2505.23971). It is a measurement, where the
noise scale is a model.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from rich.console import RenderableType
from torch import nn

from ..cluster import Cluster
from ..learning_rate import LearningRate
from ..policies import Fixed
from ..recipe import Recipe
from ..tasks import TaskData
from ..terminal import table
from ..training import AdaptiveTraining, LoopOptions
from .build import Forward, loss_scaler
from .evaluation import evaluate
from .loop import train


def train_branches(
    recipe: Recipe,
    data: TaskData,
    model: nn.Module,
    state: dict[str, Any] | None,
    multiples: Sequence[int],
    epochs: float,
    cluster: Cluster,
) -> dict[int, float]:
    """Returns the test loss after training the same samples at each multiple k of the batch.

    Args:
        recipe: The recipe, whose optimizer is used.
        data: The task's data.
        model: The network, whose weights every branch starts from.
        state: The checkpoint with the batch, learning rate and momentum to start from; None for the recipe's.
        multiples: The values of k.
        epochs: The length of a branch.
        cluster: The ranks.
    """
    losses = {}
    for multiple in multiples:
        batch = min(multiple * branch_batch(recipe, state), len(data.train))  # type: ignore[arg-type]
        options = replace(recipe.options, global_batch=batch, max_global_batch=batch, min_global_batch=None)
        branch = replace(recipe, options=options, policy=Fixed(), learning_rate=LearningRate())
        network = copy.deepcopy(model)
        optimizer = branch.optimizer.build(network)
        saved = optimizer.state_dict() if state is None else state["optimizer"]
        rates = [group["lr"] for group in saved["param_groups"]]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * math.sqrt(multiple)  # AdaptiveTraining keeps it as the base, and sets it each step
        training = AdaptiveTraining(
            network,
            optimizer,
            branch.batches(data),
            cluster=cluster,
            scaler=loss_scaler(recipe, cluster.device),
            options=LoopOptions(clip_norm=recipe.options.clip_norm),
        )
        if state is not None:
            training.optimizer.load_state_dict(state["optimizer"])  # its momentum
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
        losses[multiple] = scores["loss"]
    return losses


def branch_batch(recipe: Recipe, state: dict[str, Any] | None) -> int:
    """Returns the batch that the checkpoint had come to, or the recipe's where there is none."""
    return recipe.global_batch if state is None else int(state["global_batch"])


def branch_table(global_batch: int, losses: dict[int, float], tolerance: float) -> list[RenderableType]:
    """Returns the branches' losses as a table, and the critical batch that they tell.

    Args:
        global_batch: The batch at k = 1.
        losses: The test loss by k.
        tolerance: The part by which a loss may lie above the first one.
    """
    first = next(iter(losses.values()))
    good = {k: math.isfinite(loss) and loss <= first * (1 + tolerance) for k, loss in losses.items()}
    rows = [
        (str(k), str(k * global_batch), f"x{math.sqrt(k):.3g}", f"{loss:.4f}", "yes" if good[k] else "no")
        for k, loss in losses.items()
    ]
    headings = ("k", "batch", "learning rate", "test loss", "within tolerance")
    shown = table(headings, rows, title="branches from the same weights")
    critical = max((k for k in losses if all(good[j] for j in losses if j <= k)), default=next(iter(losses)))
    more = " or more" if critical == max(losses) else ""
    return [shown, f"critical batch by branches: {critical * global_batch}{more}, at a tolerance of {tolerance:.1%}"]


def _loss(recipe: Recipe, forward: Forward, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return recipe.task.loss(forward(inputs), targets)
