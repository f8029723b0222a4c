"""The noise of a model's gradient at rest: whole, layer by layer, and the batch that it suggests.

At the noise scale a step makes half of the progress of a noiseless one, and a sample half of what it would in a small
batch (McCandlish et al. 2018, https://arxiv.org/abs/1812.06162, section 2.2).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from rich.console import RenderableType
from rich.table import Table
from torch import nn

from ..cluster import Cluster
from ..errors import InputError, reading, require
from ..gradients import Estimate, samples_for
from ..numerals import brief
from ..policies import Fixed
from ..recipe import Recipe
from ..records import fits
from ..tasks import TaskData
from ..terminal import count, table
from ..training import AdaptiveTraining, LoopOptions, checkpoint
from .branches import branch_batch, branch_table, possible, train_branches
from .build import Forward, build_model, load_data, loss_scaler
from .folder import RunFolder
from .loop import train


@dataclass(frozen=True, kw_only=True)
class NoiseFlags:
    """Flags of ``adabatch noise``."""

    checkpoint: str | None = None
    """The folder of the run whose weights are measured, or of its checkpoint; fresh weights when not given."""
    steps: int = 50
    """The number of global batches to measure."""
    branches: tuple[int, ...] = ()
    """The multiples k of the batch with which short branches are trained, as [1,2,4,8], for the critical batch; k with
    more samples than a branch has are left out."""
    branch_epochs: float = 1.0
    """The epochs of a branch."""
    branch_orders: int = 1
    """The orders of the samples in which each branch is trained, for an interval; 3 or more tell something."""
    tolerance: float = 0.01
    """The part by which a branch's test loss may lie above that of the first branch."""

    def check(self) -> None:
        """Sees that the values are in their ranges.

        Raises:
            InputError: A value is out of range.
        """
        require(self.steps >= 2, "steps", self.steps, "2 or more", "--steps 50")
        good = list(self.branches) == sorted({k for k in self.branches if k >= 1})
        require(good, "branches", self.branches, "increasing multiples from 1 on", "--branches [1,2,4,8]")
        length = 0 < self.branch_epochs < math.inf
        require(length, "branch_epochs", self.branch_epochs, "more than 0", "--branch_epochs 1")
        require(self.branch_orders >= 1, "branch_orders", self.branch_orders, "1 or more", "--branch_orders 3")
        require(self.tolerance >= 0, "tolerance", self.tolerance, "0 or more", "--tolerance 0.01")


class Watch(Fixed):
    """A rule that measures all batches with the same weight, and leaves the batch alone."""

    measures: ClassVar[bool] = True

    def window_samples(self, samples_per_epoch: int, start_batch: int) -> float:
        """Returns infinity: no measurement is forgotten."""
        return math.inf


def report_noise(recipe: Recipe, flags: NoiseFlags, cluster: Cluster) -> list[RenderableType]:
    """Measures on all ranks. Returns what to print, on every rank.

    Raises:
        InputError: Data, model, sizes, flags or checkpoint cannot be used; every rank raises the same error.
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
    size, n_samples, taken = branch_batch(recipe, state), batches.plan.n_samples, list[int]()
    with cluster.together():
        if state is not None:
            _load(model, state, flags.checkpoint)
        if flags.branches:
            taken = possible(flags.branches, size, flags.branch_epochs, n_samples)
    estimate, groups = measure(recipe, data, copy.deepcopy(model), flags.steps, cluster)
    sizes = {name: sum(p.numel() for p in group) for name, group in layers(model).items()}
    parts: list[RenderableType] = [
        _table(estimate, groups, sizes),
        *_advice(estimate, recipe.global_batch, flags.steps),
    ]
    if taken:
        length, orders = flags.branch_epochs, flags.branch_orders
        branches = train_branches(recipe, data, model, state, taken, length, cluster, orders=orders)
        parts += branch_table(branches, flags.tolerance)
        if left_out := [str(k) for k in flags.branches if k not in taken]:
            parts.append(f"k = {', '.join(left_out)} left out: a branch has fewer samples than such a batch")
    return parts


def layers(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Returns the trained parameters of each module that has some of its own, by the module's name."""
    found = {
        name or "model": [p for p in module.parameters(recurse=False) if p.requires_grad]
        for name, module in model.named_modules()
    }
    return {name: parameters for name, parameters in found.items() if parameters}


def measure(
    recipe: Recipe, data: TaskData, model: nn.Module, steps: int, cluster: Cluster
) -> tuple[Estimate, dict[str, Estimate]]:
    """Returns the noise of so many global batches at these weights: of all parameters, and of each layer."""
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
    for _ in train(training, range(steps), lambda inputs, targets: recipe.task.loss(forward(inputs), targets)):
        if training.steps == steps:
            break
    estimate = training.measuring.estimate
    if estimate is None:
        raise RuntimeError(f"{training.skipped} of {training.steps} steps were not finite: there is nothing to tell")
    return estimate, training.measuring.group_estimates()


def _state(path: Path, cluster: Cluster) -> dict[str, Any]:
    """Returns what a run saved of its training."""
    with cluster.together():
        folder = next((f for f in (RunFolder(path).checkpoint, path) if checkpoint.exists(f)), None)
        allowed, hint = "the folder of a run, with its checkpoint", "--checkpoint runs/NAME"
        if folder is None:
            raise InputError("checkpoint", path, allowed, hint)
        loaded = checkpoint.load(folder, cluster)
        assert loaded is not None  # it exists
        with reading("checkpoint", path, allowed, hint):
            training: dict[str, Any] = loaded.state["training"]
            kinds = {"model": dict, "optimizer": dict, "scaler": dict | None, "global_batch": int}
            wrong = [name for name, kind in kinds.items() if not fits(training[name], kind)]
            require(not wrong, "checkpoint", f"{path} (another type of {', '.join(wrong)})", allowed, hint)
    return training


def _load(model: nn.Module, state: dict[str, Any], path: str | None) -> None:
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        allowed = "weights of the recipe's network"
        raise InputError("checkpoint", f"{path} ({reason})", allowed, "the recipe of that run") from error


def _table(estimate: Estimate, groups: dict[str, Estimate], sizes: dict[str, int]) -> Table:
    lines: list[list[str]] = []
    rows = {**groups, "all": estimate} if len(groups) > 1 else {"all": estimate}
    last = list(groups)[-1] if groups else None
    for name, found in rows.items():
        parameters = sizes.get(name, sum(sizes.values()))
        cells = [brief(found.noise_scale), f"{brief(found.low)} to {brief(found.high)}"]
        cells += [f"{found.variance / estimate.variance:.1%}" if estimate.variance > 0 else "-"]
        cells += [f"{found.signal / estimate.signal:.1%}" if estimate.signal > 0 else "-"]
        lines.append([name, count(parameters), *cells])
        if name == last:
            lines.append([])  # a line above the sum of all
    headings = ("layer", "parameters", "noise scale", "95 % interval", "part of variance", "part of signal")
    return table(headings, lines, left=("layer",))


def _advice(estimate: Estimate, global_batch: int, steps: int) -> list[str]:
    lines = [f"measured on {steps} batches of {global_batch}; noise scale in samples"]
    if estimate.signal + estimate.signal_margin < 0:
        lines.append("no signal: the mean gradient is shorter than its noise explains, as at an optimum of the loss")
    elif math.isinf(estimate.high):
        lines.append(
            f"the signal cannot be told from noise: at least {brief(estimate.low)}; --steps {4 * steps} sees more"
        )
    else:
        scales = (estimate.low, estimate.noise_scale, estimate.high)
        low, batch, high = (max(1, round(samples_for(scale, 1.0, estimate.population))) for scale in scales)
        lines.append(
            f"suggested batch: {batch} ({low} to {high}): twice the updates of a noiseless gradient, and at most twice"
            " the samples of a small batch"
        )
    # E|g|^2 = variance / B + disjoint_signal: equal progress of steps takes as many samples as B E|g|^2 says
    noise = estimate.variance
    part = noise / (noise + global_batch * max(estimate.disjoint_signal, 0.0)) if noise > 0 else 0.0
    lines.append(f"at {global_batch} a sample is worth {part:.0%} of what it is in the smallest batch")
    return lines
