"""Measures what a checkpoint within an epoch costs training: the copy, and the steps beside which it is written.

    mpirun -np 2 --oversubscribe python benchmarks/checkpoint_cost.py [--rounds 15] [--seconds 8] [--write FILE]

Two networks take turns in one process: blocks of equally many steps with one checkpoint at their start, and without.
The difference of the two blocks of a round is what the checkpoint has cost, in the file system of --folder; over 60
seconds it is the part of training that one checkpoint a minute takes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from machine import machine, versions
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.run.folder import RunFolder
from hpc_adabatch.run.saver import Saver
from hpc_adabatch.tasks.models import build_model
from hpc_adabatch.training.journal import Journal
from hpc_adabatch.training.state import collect


class Wide(nn.Sequential):
    """A network of 25 million weights and few operations."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(3072, 4096), nn.ReLU(), nn.Linear(4096, 2900), nn.ReLU())
        self.append(nn.Linear(2900, 10))


class Arm:
    """A network that trains, and saves where it is told to."""

    def __init__(self, model: nn.Module, cluster: hab.Cluster, folder: Path) -> None:
        torch.manual_seed(0)
        data = TensorDataset(torch.randn(4096, 3, 32, 32), torch.randint(10, (4096,)))
        self.training = hab.AdaptiveTraining(
            model.to(cluster.device),
            torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9),
            hab.AdaptiveBatches(data, 64, max_micro_batch=32),
            cluster=cluster,
        )
        self._cluster = cluster
        self._saver = Saver(RunFolder(folder), Journal(None), self.training.checkpoints, print)
        self._steps = (step for epoch in range(10**6) for step in self.training.epoch(epoch))
        self.weights = sum(parameter.numel() for parameter in model.parameters())

    def block(self, steps: int, *, saves: bool) -> float:
        """Returns the seconds of so many steps, with a checkpoint at their start or without, on rank 0."""
        self._cluster.barrier()
        began_s = time.perf_counter()
        if saves:
            state = collect(self.training, self._cluster)
            if self._cluster.leads:
                self._saver.save(state, wait=False)
        for _ in range(steps):
            step = next(self._steps)
            for inputs, targets in step:
                step.backward(cross_entropy(self.training.model(inputs), targets))
            step.update()
        self._cluster.barrier()
        seconds = time.perf_counter() - began_s
        if saves and self._cluster.leads and self._saver._outcome() is not None:
            raise RuntimeError("the checkpoint was not written")
        self._cluster.barrier()
        return seconds


def main() -> None:
    """Measures, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=8.0, help="of a block")
    parser.add_argument("--folder", type=Path, help="where checkpoints are written; a temporary folder if not given")
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    cluster = hab.Cluster.start()
    rows = []
    for name, model in (("ResNet-20", build_model("resnet20", 10, (3, 32, 32))), ("25 million weights", Wide())):
        with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
            arm = Arm(model, cluster, Path(folder))
            arm.block(3, saves=True)
            steps = max(2, round(flags.seconds / (arm.block(6, saves=False) / 6)))
            steps = int(cluster.tell(steps))
            with_one, without = [], []
            for number in range(flags.rounds):
                for saves in (True, False) if number % 2 else (False, True):
                    (with_one if saves else without).append(arm.block(steps, saves=saves))
        costs = sorted(a - b for a, b in zip(with_one, without, strict=True))
        low, middle, high = statistics.quantiles(costs, n=4)
        rows.append(
            f"| {name} | {arm.weights:,} | {statistics.median(without) / steps:.3f} | {middle:.3f} | "
            f"{low:.3f} to {high:.3f} | {100 * middle / 60:.2f} % |"
        )
        if cluster.leads:
            print(rows[-1], flush=True)
    if cluster.leads:
        text = "\n".join(
            [
                "# What a checkpoint within an epoch costs",
                "",
                "    mpirun -np 2 --oversubscribe python benchmarks/checkpoint_cost.py",
                "",
                f"{machine(cluster.size, os.cpu_count())}; {versions()}; "
                f"{flags.rounds} rounds of two blocks of {flags.seconds:g} s.",
                "",
                "| network | weights | a step, s | a checkpoint, s | quartiles | of training, at one a minute |",
                "|---|---|---|---|---|---|",
                *rows,
                "",
                "A checkpoint: the seconds that a block with one takes longer than one without, with the steps beside",
                "the writing thread. The state has momentum, so it is twice the weights.",
                "",
            ]
        )
        print(text)
        if flags.write:
            flags.write.write_text(text, encoding="utf-8")
    cluster.stop()


if __name__ == "__main__":
    main()
