"""Trains on digits at a large batch: with the warm-up that ends by its losses, and with LEGW's, tuned.

    python benchmarks/auto_warmup.py [--seeds 3] [--batch 256] [--epochs 60] [--write docs/results/auto-warmup.md]

A network as in Horovod's MNIST example learns the 8 x 8 digits, without BatchNorm (benchmarks/short_runs.py) and with
it after each layer but the last. All rows end in a cosine:

    small batch     32, without warm-up, at the rate of docs/results/short-runs.md
    LEGW, tuned     1901.08256: a linear warm-up, at the best rate and length of a grid
    auto            AutoWU, 2107.05855: ``learning_rate.warmup: auto`` to a top rate that nobody has tuned

Grids are run with one seed that the table has not; a rate at the end of its grid may have a better one beyond.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from machine import machine, versions
from short_runs import network
from torch import nn
from torch.nn.functional import cross_entropy

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.tasks.digits import Digits
from hpc_adabatch.training.journal import Journal

TUNED_ON = 100
"""The seed of the grids."""
SMALL, SMALL_RATE = 32, 0.05
MAKES: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
    "LARS": lambda parameters, lr: hab.LARS(parameters, lr=lr, momentum=0.9),
    "LAMB": lambda parameters, lr: hab.LAMB(parameters, lr=lr),
}
RATES = {"SGD": (0.05, 0.1, 0.2, 0.4), "LARS": (4.0, 8.0, 16.0, 32.0), "LAMB": (0.01, 0.02, 0.04, 0.08)}
LENGTHS = (3.0, 12.0)
"""Epochs of LEGW's warm-up at the large batch."""
TOPS = {"SGD": (1.0, 10.0), "LARS": (100.0, 1000.0), "LAMB": (1.0, 10.0)}
"""Top rates of the warm-up auto; 1 is that of the authors, who train with LAMB and AdamP."""


def normalised() -> nn.Module:
    """Returns the network with BatchNorm."""
    layers: list[nn.Module] = []
    for layer in network():
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            layers.append(nn.BatchNorm2d(layer.out_channels))
        elif isinstance(layer, nn.Linear) and layer.out_features != 10:
            layers.append(nn.BatchNorm1d(layer.out_features))
    return nn.Sequential(*layers)


NETWORKS = {"none": network, "BatchNorm": normalised}


@dataclass(frozen=True)
class Outcome:
    """What a run has come to."""

    accuracy: float
    """The part of the test set that it knows; 0 where it diverged."""
    ended: tuple[float, float] | None = None
    """The epoch at which its warm-up auto ended, and the learning rate from there on."""


class Ear(Journal):
    """A journal that keeps the end of the warm-up."""

    ended: tuple[float, float] | None = None

    def record(self, kind: str, *, step: int, cursor: int, epoch: int, **fields: Any) -> None:
        """Takes note of the decision with which the warm-up ends."""
        if fields.get("warmup", {}).get("height") is not None:
            self.ended = epoch + 1, fields["learning_rate"]


@dataclass(frozen=True)
class Bench:
    """What all runs of a table have alike."""

    seeds: int
    """The number of runs of each row."""
    epochs: int
    """The passes over the data of each run."""
    batch: int
    """The large batch."""


def run(bench: Bench, norm: str, seed: int, optimizer: str, lr: float, batch: int, how: Mapping[str, Any]) -> Outcome:
    """Trains once, with the fields of a schedule."""
    data = Digits().load()
    inputs, targets = data.test.tensors
    torch.manual_seed(seed)
    model, ear = NETWORKS[norm](), Ear(None)
    training = hab.AdaptiveTraining(
        model,
        MAKES[optimizer](model.parameters(), lr),
        hab.AdaptiveBatches(data.train, batch, seed=seed),
        cluster=SingleProcess(),
        learning_rate=hab.LearningRate(decay="cosine", epochs=bench.epochs, **how),
        journal=ear,
    )
    torch.manual_seed(1000 * seed)  # dropout
    try:
        for epoch in range(bench.epochs):
            for step in training.epoch(epoch):
                for x, y in step:
                    step.backward(cross_entropy(model(x), y))
                step.update()
    except hab.DivergedError:
        return Outcome(0.0, ear.ended)
    model.eval()
    with torch.no_grad():
        return Outcome(float((model(inputs).argmax(1) == targets).float().mean()), ear.ended)


def cell(found: list[Outcome]) -> str:
    """Returns the mean accuracy of some seeds with its spread, in %."""
    points = [100 * one.accuracy for one in found]
    return f"{statistics.mean(points):.2f} ± {statistics.stdev(points):.2f}"


def best(bench: Bench, norm: str, optimizer: str) -> tuple[float, dict[str, Any]]:
    """Returns the rate and the warm-up that come furthest with the seed of the grids."""
    settings = [(lr, {"warmup": "fixed", "warmup_epochs": w}) for lr, w in product(RATES[optimizer], LENGTHS)]
    found = [run(bench, norm, TUNED_ON, optimizer, lr, bench.batch, how).accuracy for lr, how in settings]
    return settings[found.index(max(found))]


def small(bench: Bench, norm: str) -> str:
    """Returns the line of the small batch."""
    found = [run(bench, norm, seed, "SGD", SMALL_RATE, SMALL, {}) for seed in range(bench.seeds)]
    return f"| {norm} | SGD | {SMALL} | small batch: rate {SMALL_RATE:g} | {cell(found)} | |"


def large(bench: Bench, norm: str, optimizer: str) -> Iterator[str]:
    """Yields the lines of an optimizer."""
    lr, how = best(bench, norm, optimizer)
    begin = f"| {norm} | {optimizer} | {bench.batch} |"
    found = [run(bench, norm, seed, optimizer, lr, bench.batch, how) for seed in range(bench.seeds)]
    yield f"{begin} LEGW, tuned: rate {lr:g} after {how['warmup_epochs']:g} epochs | {cell(found)} | |"
    for top in TOPS[optimizer]:
        found = [run(bench, norm, seed, optimizer, top, bench.batch, {"warmup": "auto"}) for seed in range(bench.seeds)]
        ends = "; ".join(f"{one.ended[1]:.3g} at {one.ended[0]:g}" if one.ended else "none" for one in found)
        yield f"{begin} auto, top {top:g} | {cell(found)} | {ends} |"


def lines(bench: Bench) -> Iterator[str]:
    """Yields the lines of the table."""
    for norm in NETWORKS:
        yield small(bench, norm)
        for optimizer in MAKES:
            yield from large(bench, norm, optimizer)


def main() -> None:
    """Trains all, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    page = [
        "# A warm-up that ends by its losses, beside LEGW's",
        "",
        f"    python benchmarks/auto_warmup.py --seeds {flags.seeds} --batch {flags.batch} --epochs {flags.epochs}",
        "",
        f"{machine(1, os.cpu_count())}; {versions()}.",
        f"Test accuracy in % after {flags.epochs} epochs, mean and standard deviation over {flags.seeds} seeds, and",
        "for each seed the rate that the warm-up went back to, and the epoch at whose end.",
        "",
        "| normalisation | optimizer | batch | learning rate | accuracy | rates found |",
        "|---|---|---|---|---|---|",
    ]
    for line in lines(Bench(flags.seeds, flags.epochs, flags.batch)):
        print(line, flush=True)
        page.append(line)
    about = (__doc__ or "").split("\n\n")
    page += ["", about[2], "", about[3].replace("``", "`"), "", about[4]]
    if flags.write:
        flags.write.write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
