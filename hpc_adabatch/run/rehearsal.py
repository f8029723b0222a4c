"""A rehearsal of a recipe: what would fail after hours in the queue, or in the run, fails within a minute.

    the first batch      some steps by the recipe's own rule: data, network, precision, sums over ranks
    the test set         one evaluation
    the disk             a checkpoint, and a step of a run that goes on from it
    the largest batch    some steps of it, where the rule may want another than the first: memory and passes

It is the run itself, in a folder of its own that is removed in the end, and told to stop after so many steps.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..batches.micro_batch import passes_and_micro_batch
from ..cluster import Cluster
from ..cluster.room import let_go
from ..files import make_writable
from ..numerals import brief
from ..policies import Fixed
from ..recipe import Recipe
from ..tasks import TaskData
from ..training.signals import StopFlag
from .build import load_data
from .progress import ProgressDisplay
from .recipe_run import RecipeRun

STEPS = 3


@dataclass(frozen=True, kw_only=True)
class RehearseFlags:
    """The disk on which the checkpoint is tried."""

    out: str = "runs"
    """The folder that the run's folder will lie in."""


class StopAfter(StopFlag):
    """A flag that is set after some steps.

    Args:
        steps: The number of steps.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def _look(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self._heard.add("stop file")


def rehearse(recipe: Recipe, resolved: str, flags: RehearseFlags, cluster: Cluster) -> None:
    """Rehearses a recipe on all ranks; rank 0 prints a line for each part that went well.

    Args:
        recipe: The recipe.
        resolved: The recipe as YAML.
        flags: The folder that the run's folder will lie in.
        cluster: The ranks.

    Raises:
        InputError: The recipe, its data or a folder cannot be used; every rank raises the same error.
        StorageError: The checkpoint cannot be written; every rank raises the same error.
    """
    say = ProgressDisplay(cluster.leads).line
    began_s = time.perf_counter()
    data = load_data(recipe, cluster)
    say(f"{recipe.name}: data read in {_seconds(began_s)}")
    with _folder(Path(flags.out), cluster) as folder:

        def run(of: Recipe, name: str, steps: int, *, resume: bool = False) -> RecipeRun:
            stop, silent = StopAfter(steps), ProgressDisplay(speaks=False)
            quietly: dict[str, Any] = {"cluster": cluster, "stop_flag": stop, "data": data, "progress": silent}
            return RecipeRun(of, resolved, folder / name, resume=resume, **quietly)

        first = run(recipe, "first", STEPS)
        say(f"first batch {_trained(first)}")
        began_s = time.perf_counter()
        loss = first.evaluate()["loss"]
        say(f"test set: loss {loss:.4g}, evaluated in {_seconds(began_s)}")
        began_s = time.perf_counter()
        again = run(recipe, "first", 1, resume=True)
        _trained(again)
        size = sum(file.stat().st_size for file in first.folder.checkpoint.glob("last.pt*")) if cluster.leads else 0
        say(f"checkpoint: {brief(size / 1e6)} MB in {flags.out}, gone on from in {_seconds(began_s)}")
        del first, again  # the largest batch has the memory for itself, as in the run
        let_go(cluster.device)
        largest = at_largest(recipe, data)
        if largest.global_batch != recipe.global_batch:
            say(f"largest batch {_trained(run(largest, 'largest', STEPS))}")


def at_largest(recipe: Recipe, data: TaskData) -> Recipe:
    """Returns the recipe with the largest batch that its rule may want, from the first step on."""
    maximum, policy = recipe.batches(data).max_global_batch, recipe.policy
    largest = recipe.global_batch if isinstance(policy, Fixed) else min(policy.largest_batch or maximum, maximum)
    options = replace(recipe.options, global_batch=largest, max_global_batch=largest, min_global_batch=1)
    return replace(recipe, options=options, policy=policy if policy.initial_batch is None else Fixed())


def _trained(run: RecipeRun) -> str:
    """Trains until the run is told to stop. Returns what it did, in words."""
    training, on_gpu = run.training, run.cluster.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before, skipped, batch, began_s = training.steps, training.skipped, training.global_batch, time.perf_counter()
    run.train()
    steps, seconds = training.steps - before, time.perf_counter() - began_s
    passes, micro_batch = passes_and_micro_batch(batch, run.cluster.size, training.micro_batch.largest)
    told = f"{batch}: {steps} step(s) of {passes} x {micro_batch} a rank in {seconds:.1f} s, with the checkpoint"
    if on_gpu:
        told += f"; {torch.cuda.max_memory_allocated() / 1e9:.1f} GB at most"
    if training.skipped > skipped:
        told += f"; {training.skipped - skipped} skipped, for losses or gradients that were not finite"
    return told


@contextmanager
def _folder(parent: Path, cluster: Cluster) -> Iterator[Path]:
    """Yields a folder of rank 0 that all ranks know, and removes it in the end."""
    made = None
    with cluster.together():
        if cluster.leads:
            allowed = "a folder that can be written"
            make_writable(parent, given=parent, allowed=allowed, example="--out DIR")
            made = tempfile.mkdtemp(prefix=".rehearsal-", dir=parent)

    def leave(number: int, _: object) -> None:  # a job that is cancelled leaves nothing either
        remove()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def remove() -> None:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield Path(cluster.tell(made))
    finally:
        signal.signal(signal.SIGTERM, before)
        remove()


def _seconds(began_s: float) -> str:
    return f"{time.perf_counter() - began_s:.1f} s"
