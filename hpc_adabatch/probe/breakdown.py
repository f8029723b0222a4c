"""Where the time of a recipe's steps goes, at its own batch on these ranks: the cell of a scaling study.

    one round, on every rank:   step            with gradients summed over the ranks
                                step alone      the same, each rank for itself, all at the same time
                                  data          what that one waits for its samples
                                allreduce       the gradient's bytes, nothing else

    data       mean over ranks                                    data + compute + straggler + exposed
    compute    mean over ranks of (alone - data)                      = mean alone + (slowest - mean) + (step - slowest)
    straggler  slowest rank's alone - mean over ranks                 = step
    exposed    step - slowest rank's alone

Each part is the median over rounds, so that they add up to the step up to that. Exposed communication is measured, not
guessed: step times alone cannot tell serial time from bandwidth.

The file is result.json, written by rename; its fields are those of ``Breakdown``, and what the recipe is.

Not here: all micro-batches (steps.py), many node counts (study/).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..batches.micro_batch import passes_and_micro_batch
from ..cluster import Cluster, SingleProcess
from ..errors import require
from ..files import make_writable
from ..recipe import Recipe
from ..run.progress import ProgressDisplay as Display
from .report import write
from .steps import FixedSteps, RecipeSteps
from .timing import Timer, Times, Work


@dataclass(frozen=True, kw_only=True)
class MeasureFlags:
    """What to measure."""

    out: str | None = None
    """Folder for result.json; none is written when not given."""
    warmup: int = 20
    """Rounds whose times are forgotten."""
    steps: int = 200
    """Rounds that count."""

    def __post_init__(self) -> None:
        require(self.warmup >= 0, "warmup", self.warmup, "0 or more", "--warmup 20")
        require(self.steps >= 5, "steps", self.steps, "5 or more, or quartiles say nothing", "--steps 200")


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """A step of a recipe on these ranks; seconds."""

    global_batch: int
    local_batch: int
    """Of the fullest rank."""
    micro_batch: int
    passes: int
    warmup: int
    steps: int
    parameters: int
    gradient_bytes: int
    step_s: Times
    data_s: float
    compute_s: float
    straggler_s: float
    exposed_s: float
    """May be negative, by what the times scatter; 0 on one rank."""
    allreduce_s: float | None
    """The gradient's bytes summed over the ranks, with nothing beside; None on one rank."""
    samples_per_s: float


def parts(data: np.ndarray, alone: np.ndarray, step: np.ndarray) -> dict[str, float]:
    """The parts of a step.

    Args:
        data, alone, step: seconds, (ranks, rounds).

    Returns:
        data_s, compute_s, straggler_s, exposed_s: medians over rounds.
    """
    slowest, mean = alone.max(axis=0), alone.mean(axis=0)  # (rounds,)
    rounds = {
        "data_s": data.mean(axis=0),
        "compute_s": mean - data.mean(axis=0),
        "straggler_s": slowest - mean,
        "exposed_s": step.max(axis=0) - slowest,
    }
    return {name: float(np.median(values)) for name, values in rounds.items()}


def measure_step(recipe: Recipe, flags: MeasureFlags, cluster: Cluster) -> None:
    """Measures the recipe's first batch on all ranks; rank 0 prints, and writes the file.

    Raises:
        InputError: the folder cannot be written, or data, model or sizes cannot be used; the same on every rank.
    """
    out = Path(flags.out) if flags.out is not None else None
    with cluster.together():
        if cluster.leads and out is not None:
            make_writable(out, given=out, allowed="a folder that can be written", example="--out DIR")
    steps = RecipeSteps(recipe, cluster)
    found = _measure(steps, flags, cluster)
    display = Display(cluster.leads)
    display.line(
        f"{recipe.name}: global batch {found.global_batch} on {cluster.size} rank(s), {cluster.n_nodes} node(s): step "
        f"{1e3 * found.step_s.median_s:.2f} ms = data {1e3 * found.data_s:.2f} + compute {1e3 * found.compute_s:.2f} + "
        f"straggler {1e3 * found.straggler_s:.2f} + exposed communication {1e3 * found.exposed_s:.2f}; "
        f"{found.samples_per_s:.0f} samples/s"
    )
    if cluster.leads and out is not None:
        write(out / "result.json", {"kind": "measure", **_about(recipe, cluster), **asdict(found)})


def _measure(steps: RecipeSteps, flags: MeasureFlags, cluster: Cluster) -> Breakdown:
    recipe = steps.recipe
    batch, own = recipe.global_batch, recipe.options.max_micro_batch or recipe.global_batch
    passes, micro_batch = passes_and_micro_batch(batch, cluster.size, own)
    local = -(-batch // cluster.size)
    one_rank = SingleProcess(cluster.device)
    seed = recipe.options.seed
    together = FixedSteps(recipe, steps.data, batch, micro_batch, cluster, seed)
    alone = FixedSteps(recipe, steps.data, local, micro_batch, one_rank, seed + cluster.rank)
    works: dict[str, Work] = {"step": together.step, "alone": alone.step}
    if cluster.size > 1:
        gradient = torch.zeros(max(1, steps.gradient_bytes // 4), device=cluster.device)
        works["allreduce"] = partial(cluster.allreduce_, gradient, "measure.allreduce")
    timer = Timer(cluster, float("inf"))
    seconds = timer.on_every_rank(works, warmup=flags.warmup, rounds=flags.steps)
    data = np.array(cluster.gather(alone.waited_s[flags.warmup :]))
    step = seconds["step"] if cluster.size > 1 else seconds["alone"]
    times = Times.of(step.max(axis=0).tolist())
    return Breakdown(
        global_batch=batch,
        local_batch=local,
        micro_batch=micro_batch,
        passes=passes,
        warmup=flags.warmup,
        steps=flags.steps,
        parameters=steps.parameters,
        gradient_bytes=steps.gradient_bytes,
        step_s=times,
        allreduce_s=float(np.median(seconds["allreduce"].max(axis=0))) if cluster.size > 1 else None,
        samples_per_s=batch / times.median_s,
        **parts(data, seconds["alone"], step),
    )


def _about(recipe: Recipe, cluster: Cluster) -> dict[str, object]:
    cuda = cluster.device.type == "cuda"
    return {
        "name": recipe.name,
        **recipe.chosen,
        "model": recipe.model_name,
        "world_size": cluster.size,
        "nodes": cluster.n_nodes,
        "launcher": cluster.launcher,
        "device_name": torch.cuda.get_device_name(cluster.device) if cuda else "cpu",
        "threads": torch.get_num_threads(),
    }
