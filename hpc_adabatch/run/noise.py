"""The noise of an existing model's gradient: whole, layer by layer, and the batch that it suggests.

    measure    so many global batches, weights at rest -> variance and signal, unbiased -> noise scale with its interval
    branches   from the same weights, one epoch's part at k times the batch and sqrt(k) times the learning rate, for
               each k: the critical batch is the largest whose loss is not worse (Merrill et al. 2025,
               https://arxiv.org/abs/2505.23971), a measurement where the noise scale is a model

At the noise scale a step makes half of the progress of a noiseless one, and a sample half of what it would in a small
batch (McCandlish et al. 2018, https://arxiv.org/abs/1812.06162, section 2.2).

Not here: the estimates (gradients/), training with them (policies/).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from rich.console import RenderableType
from rich.table import Table
from torch import nn

from ..cluster import Cluster
from ..errors import InputError, require
from ..gradients import Estimate
from ..learning_rate import LearningRate
from ..policies import Fixed
from ..recipe import Recipe
from ..tasks import TaskData
from ..training.adaptive import AdaptiveTraining
from ..training.options import LoopOptions
from . import checkpoint
from .build import Forward, build_model, load_data, loss_scaler
from .evaluation import evaluate
from .folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class NoiseFlags:
    """What to measure."""

    checkpoint: str | None = None
    """Folder of the run whose weights to measure, or of its checkpoint; fresh weights when not given."""
    steps: int = 50
    """Global batches to measure."""
    branches: tuple[int, ...] = ()
    """Multiples k of the batch to train short branches with, as [1,2,4,8], for the critical batch."""
    branch_epochs: float = 1.0
    """Length of a branch."""
    tolerance: float = 0.01
    """Part by which a branch's test loss may lie above that of the first."""

    def check(self) -> None:
        """Raises InputError for a value out of range."""
        require(self.steps >= 2, "steps", self.steps, "2 or more", "--steps 50")
        good = list(self.branches) == sorted({k for k in self.branches if k >= 1})
        require(good, "branches", self.branches, "increasing multiples from 1 on", "--branches [1,2,4,8]")
        length = 0 < self.branch_epochs < math.inf
        require(length, "branch_epochs", self.branch_epochs, "more than 0", "--branch_epochs 1")
        require(self.tolerance >= 0, "tolerance", self.tolerance, "0 or more", "--tolerance 0.01")


class Watch(Fixed):
    """Measures, all batches with the same weight, and acts on nothing."""

    measures: ClassVar[bool] = True

    def window_samples(self, samples_per_epoch: int, start_batch: int) -> float:
        return math.inf


def report_noise(recipe: Recipe, flags: NoiseFlags, cluster: Cluster) -> list[RenderableType]:
    """Measures on all ranks; what to print, on every rank.

    Raises:
        InputError: data, model, sizes, flags or checkpoint cannot be used; the same on every rank.
    """
    data = load_data(recipe, cluster)
    with cluster.together():
        flags.check()
        searched = bool(flags.branches) and recipe.optimizer.step_size() is not None
        given = f"with optimizer {recipe.chosen['optimizer']}, which searches its steps"
        require(not searched, "branches", given, "an optimizer with a learning rate", "--optimizer sgd")
        model = build_model(recipe, data, cluster.device)
        batches = recipe.batches(data)
        batches.check_ranks(cluster.size)
    state = _state(Path(flags.checkpoint), cluster) if flags.checkpoint is not None else None
    with cluster.together():
        if state is not None:
            _load(model, state, flags.checkpoint)
    estimate, groups = measure(recipe, data, copy.deepcopy(model), flags.steps, cluster)
    sizes = {name: sum(p.numel() for p in group) for name, group in layers(model).items()}
    parts: list[RenderableType] = [
        _table(estimate, groups, sizes),
        *_advice(estimate, recipe.global_batch, flags.steps),
    ]
    if flags.branches:
        losses = branches(recipe, data, model, state, flags, cluster)
        parts += _branch_table(branch_batch(recipe, state), losses, flags.tolerance)
    return parts


def layers(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The trained parameters of each module that has some of its own, by the module's name."""
    found = {
        name or "model": [p for p in module.parameters(recurse=False) if p.requires_grad]
        for name, module in model.named_modules()
    }
    return {name: parameters for name, parameters in found.items() if parameters}


def measure(
    recipe: Recipe, data: TaskData, model: nn.Module, steps: int, cluster: Cluster
) -> tuple[Estimate, dict[str, Estimate]]:
    """The noise of so many global batches at these weights: of all parameters, and of each layer."""
    training = AdaptiveTraining(
        model,
        torch.optim.SGD(model.parameters(), lr=0.0),
        recipe.batches(data),
        cluster=cluster,
        policy=Watch(),
        scaler=loss_scaler(recipe, cluster.device),
        groups=layers(model),
        options=LoopOptions(measure_every=1, split_passes=recipe.options.split_passes),
    )
    forward = Forward(model, recipe, cluster.device)
    model.train()
    for epoch in range(steps):
        for step in training.epoch(epoch):
            for inputs, targets in step:
                step.backward(recipe.task.loss(forward(inputs), targets))
            step.update()
            if training.steps == steps:
                break
        if training.steps == steps:
            break
    estimate = training.measuring.estimate
    if estimate is None:
        raise RuntimeError(f"{training.skipped} of {training.steps} steps were not finite: there is nothing to tell")
    return estimate, training.measuring.group_estimates()


def branches(
    recipe: Recipe, data: TaskData, model: nn.Module, state: dict[str, Any] | None, flags: NoiseFlags, cluster: Cluster
) -> dict[int, float]:
    """Test loss after training the same samples at each multiple of the batch.

    All start from the same weights and momentum, at sqrt(k) times the batch's learning rate: those of the checkpoint
    where there is one, else the recipe's.
    """
    losses = {}
    for multiple in flags.branches:
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
        wanted = flags.branch_epochs * training.plan.n_samples
        network.train()
        for epoch in range(math.ceil(flags.branch_epochs)):
            for step in training.epoch(epoch):
                for inputs, targets in step:
                    step.backward(recipe.task.loss(forward(inputs), targets))
                step.update()
                if training.plan.samples_seen >= wanted:
                    break
        training.average_buffers()
        size, workers = recipe.options.evaluation_batch, recipe.options.workers
        scores = evaluate(network, forward, recipe.task, data, cluster, batch=size, workers=workers)
        losses[multiple] = scores["loss"]
    return losses


def branch_batch(recipe: Recipe, state: dict[str, Any] | None) -> int:
    """The batch of the first branch: the one the checkpoint had come to, else the recipe's."""
    return recipe.global_batch if state is None else int(state["global_batch"])


def _state(path: Path, cluster: Cluster) -> dict[str, Any]:
    """What a run saved of its training."""
    with cluster.together():
        folder = next((f for f in (RunFolder(path).checkpoint, path) if checkpoint.exists(f)), None)
        if folder is None:
            allowed = "the folder of a run, with its checkpoint"
            raise InputError("checkpoint", path, allowed, "--checkpoint runs/NAME")
        state = checkpoint.load(folder, cluster)
        assert state is not None  # it exists
    training: dict[str, Any] = state["training"]
    return training


def _load(model: nn.Module, state: dict[str, Any], path: str | None) -> None:
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        allowed = "weights of the recipe's network"
        raise InputError("checkpoint", f"{path} ({reason})", allowed, "the recipe of that run") from error


def _table(estimate: Estimate, groups: dict[str, Estimate], sizes: dict[str, int]) -> Table:
    table = Table()
    for heading in ("layer", "parameters", "noise scale", "95 % interval", "part of variance", "part of signal"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    rows = {**groups, "all": estimate} if len(groups) > 1 else {"all": estimate}
    last = list(groups)[-1] if groups else None
    for name, found in rows.items():
        parameters = sizes.get(name, sum(sizes.values()))
        cells = [f"{found.noise_scale:.4g}", f"{found.low:.4g} to {found.high:.4g}"]
        cells += [f"{found.variance / estimate.variance:.1%}"]
        cells += [f"{found.signal / estimate.signal:.1%}" if estimate.signal > 0 else "-"]
        table.add_row(name, f"{parameters:,}", *cells)
        if name == last:
            table.add_section()
    return table


def _advice(estimate: Estimate, global_batch: int, steps: int) -> list[str]:
    lines = [f"measured on {steps} batches of {global_batch}; noise scale in samples"]
    if math.isinf(estimate.high):
        lines.append(
            f"the signal cannot be told from noise: at least {estimate.low:.4g}; --steps {4 * steps} sees more"
        )
    else:
        batch = max(1, round(estimate.noise_scale))
        lines.append(
            f"suggested batch: {batch} ({estimate.low:.0f} to {estimate.high:.0f}): twice the updates of a noiseless"
            " gradient, twice the samples of a small batch"
        )
    part = 1 / (1 + global_batch / estimate.noise_scale) if estimate.noise_scale > 0 else 0.0
    lines.append(f"at {global_batch} a sample is worth {part:.0%} of what it is in the smallest batch")
    return lines


def _branch_table(global_batch: int, losses: dict[int, float], tolerance: float) -> list[RenderableType]:
    first = next(iter(losses.values()))
    table = Table(title="branches from the same weights")
    for heading in ("k", "batch", "learning rate", "test loss", "within tolerance"):
        table.add_column(heading, justify="right")
    good = {k: math.isfinite(loss) and loss <= first * (1 + tolerance) for k, loss in losses.items()}
    for k, loss in losses.items():
        table.add_row(str(k), str(k * global_batch), f"x{math.sqrt(k):.3g}", f"{loss:.4f}", "yes" if good[k] else "no")
    critical = max((k for k in losses if all(good[j] for j in losses if j <= k)), default=next(iter(losses)))
    more = " or more" if critical == max(losses) else ""
    return [table, f"critical batch by branches: {critical * global_batch}{more}, at a tolerance of {tolerance:.1%}"]
