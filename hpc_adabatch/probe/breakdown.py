"""Where the time of a recipe's steps goes, at its own batch on these ranks: the cell of a scaling study.

    one round, on every rank:   step            with gradients summed over the ranks
                                alone           the same without the sum; all ranks at the same time
                                  data          the part of alone that waits for samples
                                allreduce       a sum of the gradient's bytes, nothing else

    data       mean over ranks                                    data + compute + straggler + exposed
    compute    mean over ranks of (alone - data)                      = mean alone + (slowest - mean) + (step - slowest)
    straggler  slowest rank's alone - mean over ranks                 = step
    exposed    step - slowest rank's alone

In each round the parts add up to the step; the parts of the file are medians over rounds, and add up to it nearly.
Exposed communication is measured, because step times alone cannot tell serial time from bandwidth.
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
from ..files import make_writable, write_json
from ..recipe import Recipe
from ..terminal import display
from .report import place
from .steps import FixedSteps, RecipeSteps
from .timing import Timer, Times, Work


@dataclass(frozen=True, kw_only=True)
class MeasureFlags:
    """The rounds and the folder of a measurement."""

    out: str | None = None
    """The folder for result.json; none is written when not given."""
    warmup: int = 20
    """The number of rounds before those that count; their times are forgotten."""
    steps: int = 200
    """The number of rounds that count."""

    def __post_init__(self) -> None:
        require(self.warmup >= 0, "warmup", self.warmup, "0 or more", "--warmup 20")
        require(self.steps >= 5, "steps", self.steps, "5 or more, or quartiles say nothing", "--steps 200")


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """A step of a recipe on these ranks, and the parts of its time."""

    global_batch: int
    """Samples of a step over all ranks."""
    local_batch: int
    """Samples of a step on the rank with the most of them."""
    micro_batch: int
    """Samples of a pass."""
    passes: int
    """Forward and backward passes of a step on one rank."""
    warmup: int
    """Rounds whose times were forgotten."""
    steps: int
    """Rounds that count."""
    parameters: int
    """The number of trained parameters."""
    gradient_bytes: int
    """Bytes that a step sums over the ranks."""
    step_s: Times
    """Seconds of a step on its slowest rank."""
    data_s: float
    """Seconds that a rank waits for samples; the mean over ranks."""
    compute_s: float
    """Seconds of passes and optimizer; the mean over ranks."""
    straggler_s: float
    """Seconds by which the slowest rank is behind the mean, communication left out."""
    exposed_s: float
    """Seconds of communication that the passes do not hide; below 0 where times scatter, and 0 on one rank."""
    allreduce_s: float | None
    """Seconds of a sum of the gradient's bytes with nothing beside; None on one rank."""
    samples_per_s: float
    """Samples per second over all ranks."""


def parts(data: np.ndarray, alone: np.ndarray, step: np.ndarray) -> dict[str, float]:
    """Returns the parts of a step, data_s, compute_s, straggler_s and exposed_s: medians over rounds, in seconds.

    Args:
        data: Seconds that each rank waited for samples in a step alone, (ranks, rounds).
        alone: Seconds of each rank's step without communication, (ranks, rounds).
        step: Seconds of each rank's step with communication, (ranks, rounds).
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
    """Measures the recipe's first batch on all ranks; rank 0 prints the parts and writes result.json.

    Args:
        recipe: The recipe whose steps are measured.
        flags: How much to measure, and where to write.
        cluster: The ranks.

    Raises:
        InputError: The folder cannot be written, or data, model or sizes cannot be used; raised on every rank.
    """
    out = Path(flags.out) if flags.out is not None else None
    with cluster.together():
        if cluster.leads and out is not None:
            make_writable(out, given=out, allowed="a folder that can be written", example="--out DIR")
    steps = RecipeSteps(recipe, cluster)
    found = _measure(steps, flags, cluster)
    if not cluster.leads:
        return
    display(
        f"{recipe.name}: global batch {found.global_batch} on {cluster.size} rank(s), {cluster.n_nodes} node(s): step "
        f"{1e3 * found.step_s.median_s:.2f} ms = data {1e3 * found.data_s:.2f} + compute {1e3 * found.compute_s:.2f} + "
        f"straggler {1e3 * found.straggler_s:.2f} + exposed communication {1e3 * found.exposed_s:.2f}; "
        f"{found.samples_per_s:.0f} samples/s"
    )
    if out is not None:
        about = {"kind": "measure", "name": recipe.name, **recipe.chosen, "model": recipe.model_name}
        write_json(out / "result.json", {**about, **place(cluster), **asdict(found)})


def _measure(steps: RecipeSteps, flags: MeasureFlags, cluster: Cluster) -> Breakdown:
    recipe = steps.recipe
    batch, given = recipe.global_batch, recipe.options.max_micro_batch
    own = given if isinstance(given, int) else batch
    passes, micro_batch = passes_and_micro_batch(batch, cluster.size, own)
    local = -(-batch // cluster.size)
    one_rank = SingleProcess(cluster.device)
    seed = recipe.options.seed
    together = FixedSteps(recipe, steps.data, batch, micro_batch, cluster, seed)
    alone = FixedSteps(recipe, steps.data, local, micro_batch, one_rank, seed + cluster.rank)
    works: dict[str, Work] = {"step": together.step, "alone": alone.step}
    if cluster.size > 1:
        kind = torch.float16 if recipe.options.compression == "fp16" else torch.float32
        gradient = torch.zeros(max(1, steps.gradient_bytes // kind.itemsize), dtype=kind, device=cluster.device)
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
