"""Trains for a few epochs with the rule that follows the noise, beside the batch that it starts with.

    mpirun -np 2 --oversubscribe python benchmarks/short_runs.py [--seeds 5] [--write docs/results/short-runs.md]

A network as in Horovod's MNIST example (two convolutions, dropout, two linear layers) learns the 8 x 8 digits, far from
done where the epochs are few. Then every sample's progress counts, and half of that is what a batch at the noise scale
leaves of it (1812.06162). All rows but ``fixed`` take the learning rate from AdaScale:

    AdaScale's clock     ends when its clock has made the epochs of the small batch, as by default: more passes, fewer
                         updates
    as many passes       learning_rate.clock samples
    a quarter            the same, with a batch at a quarter of the noise scale
"""

from __future__ import annotations

import argparse
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import machine, versions
from torch import nn
from torch.nn.functional import cross_entropy

import hpc_adabatch as hab
from hpc_adabatch.tasks.digits import Digits

SETTINGS: list[tuple[dict[str, Any], tuple[int, ...]]] = [  # and the epochs of their runs
    ({"batch": 128, "lr": 0.02, "momentum": 0.5, "decay": "constant"}, (25, 50, 100)),
    ({"batch": 32, "lr": 0.02, "momentum": 0.9, "decay": "constant"}, (3, 6, 12, 25)),
    ({"batch": 32, "lr": 0.05, "momentum": 0.9, "decay": "cosine"}, (6, 12, 25)),
]
ARMS: dict[str, dict[str, Any]] = {  # clock and fraction
    "fixed": {},
    "AdaScale's clock": {"clock": "scale_invariant", "fraction": 1.0},
    "as many passes": {"clock": "samples", "fraction": 1.0},
    "a quarter": {"clock": "samples", "fraction": 0.25},
}


@dataclass(frozen=True)
class Outcome:
    """What a run has come to."""

    accuracy: float
    """The part of the test set that it knows."""
    updates: int
    """Its steps."""
    passes: float
    """Its passes over the data."""


def network() -> nn.Module:
    """Returns the network, with the weights of torch's seed."""
    first = [nn.Conv2d(1, 10, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
    second = [nn.Conv2d(10, 20, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*first, *second, nn.Linear(80, 50), nn.ReLU(), nn.Dropout(0.5), nn.Linear(50, 10))


def run(cluster: hab.Cluster, seed: int, epochs: int, setting: dict[str, Any], arm: dict[str, Any]) -> Outcome:
    """Trains once, on all ranks."""
    data = Digits().load()
    inputs, targets = data.test.tensors
    torch.manual_seed(seed)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=setting["lr"], momentum=setting["momentum"])
    schedule = {"decay": setting["decay"]} | ({"epochs": epochs} if setting["decay"] != "constant" else {})
    training = hab.AdaptiveTraining(
        model,
        optimizer,
        hab.AdaptiveBatches(data.train, setting["batch"], max_global_batch=512, seed=seed),
        cluster=cluster,
        policy=hab.NoiseScale(fraction=arm["fraction"]) if arm else hab.Fixed(),
        learning_rate=hab.LearningRate(**schedule, **({"scaling": "adascale", "clock": arm["clock"]} if arm else {})),
        options=hab.LoopOptions(measure_every=5),  # not by the time that it takes: runs can be repeated
    )
    torch.manual_seed(1000 * seed + cluster.rank)  # dropout of its own
    for epoch in training.epochs(epochs):
        for step in training.epoch(epoch):
            for x, y in step:
                step.backward(cross_entropy(model(x), y))
            step.update()
    model.eval()
    with torch.no_grad():
        accuracy = float((model(inputs).argmax(1) == targets).float().mean())
    return Outcome(accuracy, training.steps, training.plan.samples_seen / len(data.train))


def row(cluster: hab.Cluster, seeds: int, epochs: int, setting: dict[str, Any]) -> str:
    """Returns the line of a setting and a number of epochs."""
    cells = []
    for arm in ARMS.values():
        found = [run(cluster, seed, epochs, setting, arm) for seed in range(seeds)]
        points = [100 * one.accuracy for one in found]
        updates, passes = (statistics.mean(getattr(one, name) for one in found) for name in ("updates", "passes"))
        more = f", {passes:.1f} passes" if round(passes, 1) != epochs else ""
        cells.append(f"{statistics.mean(points):.1f} ± {statistics.stdev(points):.1f} ({updates:.0f}{more})")
    schedule = "" if setting["decay"] == "constant" else f", {setting['decay']}"
    how = f"{setting['batch']}, {setting['lr']:g}, {setting['momentum']:g}{schedule}"
    return f"| {how} | {epochs} | {' | '.join(cells)} |"


def main() -> None:
    """Trains all, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    cluster = hab.Cluster.start()
    lines = [
        "# Short runs with a batch that follows the noise",
        "",
        f"    mpirun -np {cluster.size} --oversubscribe python benchmarks/short_runs.py --seeds {flags.seeds}",
        "",
        f"{machine(cluster.size, os.cpu_count())}; {versions()}.",
        f"Test accuracy in %, mean and standard deviation over {flags.seeds} seeds, and updates; passes over the data",
        "where they are not the epochs. The rule: `noise_scale` with AdaScale, 512 at most; one step in 5 is measured.",
        "",
        f"| batch, rate, momentum | epochs | {' | '.join(ARMS)} |",
        f"|---|---|{'---|' * len(ARMS)}",
    ]
    for setting, ladder in SETTINGS:
        for epochs in ladder:
            lines.append(row(cluster, flags.seeds, epochs, setting))
            if cluster.leads:
                print(lines[-1], flush=True)
    about = (__doc__ or "").split("\n\n")
    lines += ["", about[2].replace("``", "`"), "", about[3], ""]
    if cluster.leads and flags.write:
        flags.write.write_text("\n".join(lines), encoding="utf-8")
    cluster.stop()


if __name__ == "__main__":
    main()
