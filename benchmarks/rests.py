"""Measures what the samples cost that whole batches leave over at the end of an epoch.

    python benchmarks/rests.py [--seeds 0,1,2] [--write docs/results/rests.md]

Each arm trains digits on 1,024 samples, four times its final batch of 256, and on a few more: the rest. Each arm has
the learning rate of a grid, by factors of two, that is best without a rest.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from machine import machine, versions
from torch import nn
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.batches.plan import BatchPlan, GlobalBatch
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.tasks import Digits

SAMPLES, START, BATCH, EPOCHS = 1024, 32, 256, 16
RESTS = (1, 8, 64, 127, 129, 255)


def sgd(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def lars(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return hab.LARS(parameters, lr=lr, momentum=0.9, weight_decay=1e-4)


def lamb(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return hab.LAMB(parameters, lr=lr, weight_decay=0.01)


@dataclass(frozen=True)
class Arm:
    """A rule with an optimizer."""

    policy: Callable[[], hab.Policy]
    optimizer: Callable[[Any, float], torch.optim.Optimizer]
    rates: tuple[float, ...]
    schedule: dict[str, Any] = field(default_factory=dict)
    start: int = START


ARMS = {
    "fixed, SGD": Arm(hab.Fixed, sgd, (0.1, 0.2, 0.4, 0.8, 1.6), start=BATCH),
    "adabatch, SGD, linear reference": Arm(
        lambda: hab.AdaBatch(factor=2, interval=4, lr_factor=1.0), sgd, (0.1, 0.2, 0.4, 0.8, 1.6)
    ),
    "noise_scale + AdaScale, SGD": Arm(
        lambda: hab.NoiseScale(window=1024), sgd, (0.0125, 0.025, 0.05, 0.1, 0.2), {"scaling": "adascale"}
    ),
    "adabatch, LARS": Arm(lambda: hab.AdaBatch(factor=2, interval=4, lr_factor=1.0), lars, (1.0, 2.0, 4.0, 8.0, 16.0)),
    "adabatch, LAMB": Arm(
        lambda: hab.AdaBatch(factor=2, interval=4, lr_factor=1.0), lamb, (0.005, 0.01, 0.02, 0.04, 0.08)
    ),
}


@cache
def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns training images, training targets, test images and test targets."""
    data = Digits().load()
    assert isinstance(data.train, TensorDataset)
    test = data.test
    assert isinstance(test, TensorDataset)
    return (*data.train.tensors, *test.tensors)


@contextmanager
def steps_of_their_own() -> Iterator[None]:
    """Cuts epochs as other loaders do: whole batches, then what is left."""

    def cut(self: BatchPlan, global_batch: int) -> GlobalBatch:
        return GlobalBatch(self.epoch, self.cursor, min(self.cursor + global_batch, self.n_samples))

    with patch.object(BatchPlan, "cut", cut):
        yield


def accuracy(arm: Arm, rate: float, samples: int, seed: int) -> float:
    """Returns the accuracy on the test set after training on so many samples."""
    images, targets, test_images, test_targets = digits()
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    batches = hab.AdaptiveBatches(
        TensorDataset(images[:samples], targets[:samples]),
        arm.start,
        max_global_batch=BATCH,
        max_micro_batch=BATCH,
        seed=seed,
    )
    training = hab.AdaptiveTraining(
        model,
        arm.optimizer(model.parameters(), rate),
        batches,
        cluster=SingleProcess(),
        policy=arm.policy(),
        learning_rate=hab.LearningRate(**arm.schedule),
        options=hab.LoopOptions(measure_every=1),
    )
    for epoch in range(EPOCHS):
        for step in training.epoch(epoch):
            for inputs, wanted in step:
                step.backward(nn.functional.cross_entropy(model(inputs), wanted))
            step.update()
    with torch.no_grad():
        return float((model(test_images).argmax(1) == test_targets).float().mean())


def mean_and_sd(values: list[float]) -> tuple[float, float]:
    """Returns mean and standard deviation in per cent."""
    return 100 * statistics.mean(values), 100 * statistics.stdev(values)


def head(seeds: str, runs: int) -> list[str]:
    """Returns the lines above the table."""
    return [
        "# The samples left at the end of an epoch",
        "",
        f"    python benchmarks/rests.py --seeds {seeds} --write docs/results/rests.md",
        "",
        f"Test accuracy in per cent after {EPOCHS} epochs of digits, mean ± standard deviation over {runs} seeds. The",
        f"columns are the samples that batches of {BATCH} leave over. *Shared*: the last steps share them, as the",
        "package cuts epochs (batches/plan.py). *Own step*: they are a step of their own, as loaders of other packages",
        "give it. *Within two*: no rest is more than two standard deviations below none; this deviation is pooled over",
        "none and all shared cells of the arm.",
        "",
    ]


AFTER = (
    "",
    "A lower rate for the short step heals SGD without momentum alone: momentum keeps the gradient, and LARS and LAMB",
    "normalise it. So no step is short: those with 3/4 of a batch and more are near enough, and those with up to 1.5",
    "batches have less noise at the rate of one. Passes are cut as always, so memory is bounded by `max_micro_batch`.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2", help="seeds, with commas between them")
    parser.add_argument("--write", type=Path, help="page to be written")
    flags = parser.parse_args()
    seeds = [int(seed) for seed in flags.seeds.split(",")]
    torch.set_num_threads(1)
    lines = [
        f"| arm | rest taken | none | {' | '.join(map(str, RESTS))} | sd of the seeds | within two? |",
        "|---" * (len(RESTS) + 5) + "|",
    ]
    for name, arm in ARMS.items():
        grid = {rate: [accuracy(arm, rate, SAMPLES, seed) for seed in seeds] for rate in arm.rates}
        rate = max(grid, key=lambda rate: statistics.mean(grid[rate]))
        without = mean_and_sd(grid[rate])
        shared = [mean_and_sd([accuracy(arm, rate, SAMPLES + rest, seed) for seed in seeds]) for rest in RESTS]
        with steps_of_their_own():
            own = [mean_and_sd([accuracy(arm, rate, SAMPLES + rest, seed) for seed in seeds]) for rest in RESTS]
        sd = math.sqrt(statistics.mean(spread**2 for _, spread in (without, *shared)))
        for taken, found in (("shared", shared), ("own step", own)):
            holds = "yes" if all(mean >= without[0] - 2 * sd for mean, _ in found) else "no"
            cells = [f"{mean:.1f} ± {spread:.1f}" for mean, spread in (without, *found)]
            lines.append(f"| {name}, rate {rate:g} | {taken} | {' | '.join(cells)} | {sd:.1f} | {holds} |")
            print(lines[-1], flush=True)
    page = [*head(flags.seeds, len(seeds)), *lines, "", f"{machine(1)}; {versions()}.", *AFTER]
    if flags.write is not None:
        flags.write.write_text("\n".join(page) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
