"""Trains a network whose last rank runs out of memory, in passes that all ranks find, and by hand in the same passes.

smaller_passes.py FOLDER [WORKERS]

A layer asks for more memory than there is, in its forward or in its backward pass, where a pass is larger than it
likes: each time the allocation fails for real. The sums of the layers behind it travel by then.
"""

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.training import attempt
from hpc_adabatch.training.journal import Journal, read

attempt.LONG_S = 1e9  # however busy the machine is
SAMPLES, STEPS, TIGHT_FROM = 299, 14, 5
folder, workers = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
cluster = hab.Cluster.start()
likes = {"forward": 10**9, "backward": 10**9}


class Hungry(torch.autograd.Function):
    """Passes on what it gets."""

    @staticmethod
    def forward(_: Any, inputs: torch.Tensor) -> torch.Tensor:
        if len(inputs) > likes["forward"]:
            torch.empty(2**60, dtype=torch.uint8)
        return inputs.clone()

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        if len(gradient) > likes["backward"]:
            torch.empty(2**60, dtype=torch.uint8)
        return gradient


class Layer(torch.nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return Hungry.apply(inputs)


class Data(TensorDataset):
    """Samples that are read one by one, by workers where there are some."""


def training(max_micro_batch: object, name: str) -> hab.AdaptiveTraining:
    torch.manual_seed(0)
    random.seed(cluster.rank)
    np.random.seed(cluster.rank)
    inputs, targets = torch.randn(SAMPLES, 12), torch.randint(5, (SAMPLES,))
    model = torch.nn.Sequential(
        torch.nn.Linear(12, 600), torch.nn.BatchNorm1d(600), Layer(), torch.nn.Dropout(0.3),
        torch.nn.Linear(600, 600), torch.nn.ReLU(), torch.nn.Linear(600, 5),
    )  # fmt: skip
    torch.manual_seed(1)
    data = Data(inputs, targets)
    return hab.AdaptiveTraining(
        model.to(cluster.device),
        torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        hab.AdaptiveBatches(
            data,
            12 * cluster.size,
            max_global_batch=18 * cluster.size,
            max_micro_batch=max_micro_batch,
            workers=workers,
            collate=together if workers else None,
        ),
        cluster=cluster,
        policy=hab.NoiseScale(window=80, dwell=1),
        options=hab.LoopOptions(measure_every=2),
        journal=Journal(folder / name if cluster.leads else None),
    )


def together(samples: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([inputs for inputs, _ in samples]), torch.stack([target for _, target in samples])


def train(loop: hab.AdaptiveTraining, until: int, tight: bool) -> list[int]:
    passes = []

    def loss(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        passes.append(len(inputs))
        noise = torch.rand(()) + random.random() + float(np.random.random())
        return cross_entropy(loop.model(inputs + 0.1 * noise), targets)

    for epoch in loop.epochs(100):
        for step in loop.epoch(epoch):
            if tight and cluster.rank == cluster.size - 1:
                likes.update({"forward": 12} if loop.steps < TIGHT_FROM else {"backward": 5})
            if loop.micro_batch.is_auto:
                step.backward_all(loss)
            else:
                for inputs, targets in step:
                    step.backward(loss(inputs, targets))
            step.update()
            if loop.steps == until:
                return passes
    return passes


def state(loop: hab.AdaptiveTraining) -> dict[str, torch.Tensor]:
    return {**loop.model.state_dict(), "torch": torch.get_rng_state(), "python": torch.tensor(random.random())}


found = training("auto", "found.jsonl")
train(found, STEPS, tight=True)
likes.update(forward=10**9, backward=10**9)
after = state(found)

first = training(8, "first.jsonl")
train(first, TIGHT_FROM, tight=False)
first.save(folder)
second = training(4, "second.jsonl")
assert second.load(folder)
sizes = train(second, STEPS, tight=False)
for name, value in state(second).items():
    assert torch.equal(after[name], value), name
assert max(sizes) == 4
if cluster.leads:
    told = [line for line in read(folder / "found.jsonl") if line["kind"] == "micro_batch"]
    assert [(line["step"], line["max_micro_batch"]) for line in told] == [(0, 8), (TIGHT_FROM, 4)], told
    assert told[0]["reason"] == f"found before training: 16 do not fit on rank {cluster.size - 1}"
    assert told[1]["reason"].startswith("passes of up to 8 samples were too large for 1 rank(s)")
    batches = [line["global_batch"] for line in read(folder / "found.jsonl") if line["kind"] == "decision"]
    by_hand = [read(folder / name) for name in ("first.jsonl", "second.jsonl")]
    assert batches == [line["global_batch"] for part in by_hand for line in part if line["kind"] == "decision"]
print(f"rank {cluster.rank}: the same bit by bit")
cluster.stop()
