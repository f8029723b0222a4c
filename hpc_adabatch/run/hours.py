"""Seconds of the passes and steps that a plan foretells, from a few of them made on this machine.

    a pass      forward and backward of one micro-batch: the quickest of three
    a step      data, passes, optimizer, with the share of the fullest rank: those of training on one rank
    a block     the mean over enough steps in a row, so that what comes now and then is in it at its rate
    interval    that of one more block: exp(m +- t s sqrt(1 + 1/n)), m and s of the logarithms of n blocks

So it tells how steps scatter within some seconds of this process, and nothing of another machine, another load of this
one, or what steps made alone leave out: communication, evaluation, checkpoints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch

from ..cluster import SingleProcess
from ..probe.steps import FixedSteps
from ..recipe import Recipe
from ..tasks import TaskData
from .build import Forward

BLOCKS = 5
BLOCK_S = 0.1  # seconds; a longer step is a block by itself
WARM_STEPS = 2  # the first loads torch's compiler
MOST_PASSES = 2  # of a step that is made: one of more takes as many times longer, optimizer and all

Size = tuple[int, int]
"""A step by the passes of a rank, and the samples of a pass."""
Seconds = tuple[float, float, float]
"""A time with its 95 % interval: (value, low, high)."""


def seconds_per_step(recipe: Recipe, data: TaskData, sizes: Iterable[Size]) -> dict[Size, Seconds]:
    """Returns the seconds of a step of each size, with their interval.

    Args:
        recipe: The recipe, whose network, optimizer, precision and data loading take the time.
        data: The data of its task.
        sizes: The sizes of steps on one rank.
    """
    n_samples, device = recipe.batches(data).plan.n_samples, _device()
    made: dict[Size, Seconds] = {}
    found: dict[Size, Seconds] = {}
    for passes, micro_batch in sorted(sizes):
        few = min(passes, MOST_PASSES)
        if (few, micro_batch) not in made:
            share = min(few * micro_batch, n_samples)
            steps = FixedSteps(recipe, data, share, micro_batch, SingleProcess(device), recipe.options.seed)
            made[few, micro_batch] = interval(blocks(steps.step, device))
        value, low, high = (passes / few * end for end in made[few, micro_batch])
        found[passes, micro_batch] = value, low, high
    return found


def seconds_per_pass(recipe: Recipe, model: torch.nn.Module, data: TaskData, micro_batch: int) -> float:
    """Returns the seconds of the quickest of three passes of this size, in the recipe's precision."""
    device = _device()
    forward = Forward(model.to(device).train(), recipe, device)
    inputs, targets = (tensor.to(device) for tensor in data.example(micro_batch))
    times = []
    for _ in range(3):
        began_s = time.perf_counter()
        recipe.task.loss(forward(inputs), targets).backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began_s)
    model.zero_grad()
    return min(times)


def blocks(step: Callable[[], object], device: torch.device) -> list[float]:
    """Returns the mean seconds of a step in each of some blocks of steps.

    Args:
        step: Makes a step.
        device: The device that is waited for at the end of a block.
    """

    def mean_s(count: int) -> float:
        began_s = time.perf_counter()
        for _ in range(count):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - began_s) / count

    for _ in range(WARM_STEPS - 1):
        mean_s(1)
    count = max(1, math.ceil(BLOCK_S / mean_s(1)))
    return [mean_s(count) for _ in range(BLOCKS)]


def interval(seconds: list[float]) -> Seconds:
    """Returns the geometric mean of blocks, and the 95 % interval of one more.

    Args:
        seconds: The mean seconds of a step in each of two or more blocks.
    """
    from scipy.special import stdtrit  # here, for a run whose nodes follow its batch times passes without it

    logarithms, count = np.log(seconds), len(seconds)
    deviation = float(logarithms.std(ddof=1)) * math.sqrt(1 + 1 / count)
    middle, reach = float(logarithms.mean()), float(stdtrit(count - 1, 0.975)) * deviation
    return math.exp(middle), math.exp(middle - reach), math.exp(middle + reach)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
