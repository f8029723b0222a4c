"""Hands one argument after another to training that is another one on the last rank; each is named on all ranks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

cluster = hab.Cluster.start()
last = cluster.rank == cluster.size - 1
draw = torch.Generator().manual_seed(0)
inputs, targets = torch.randn(60, 3, generator=draw), torch.randn(60, 1, generator=draw)


def data(first: int = 0, samples: int = 30) -> TensorDataset:
    return TensorDataset(inputs[first : first + samples], targets[first : first + samples])


def make(
    width: int = 1,
    lr: float = 0.1,
    kind: Any = torch.optim.SGD,
    dataset: TensorDataset | None = None,
    seed: int = 0,
    batch: int = 6,
    weights: list[float] | None = None,
    **more: Any,
) -> hab.AdaptiveTraining:
    model = torch.nn.Linear(3, width)
    batches = hab.AdaptiveBatches(dataset or data(), batch, max_global_batch=12, seed=seed, weights=weights)
    return hab.AdaptiveTraining(model, kind(model.parameters(), lr=lr), batches, cluster=cluster, **more)


CASES: dict[str, Callable[[], hab.AdaptiveTraining]] = {
    "model.weight": lambda: make(width=2 if last else 1),
    "optimizer.groups[0].lr": lambda: make(lr=0.2 if last else 0.1),
    "optimizer": lambda: make(kind=torch.optim.Adam if last else torch.optim.SGD),
    "seed": lambda: make(seed=cluster.rank),
    "global_batch": lambda: make(batch=8 if last else 6),
    "dataset": lambda: make(dataset=data(30 * last)),
    "dataset ": lambda: make(dataset=data(samples=30 + last)),
    "weights": lambda: make(weights=[1.0 + last] * 30),
    "policy": lambda: make(policy=hab.Fixed() if last else hab.AdaBatch()),
    "policy.factor": lambda: make(policy=hab.AdaBatch(factor=4) if last else hab.AdaBatch()),
    "learning_rate.scaling": lambda: make(learning_rate=hab.LearningRate(scaling="linear" if last else "none")),
    "clip_norm": lambda: make(options=hab.LoopOptions(clip_norm=1.0 if last else 2.0)),
}
for field, case in CASES.items():
    with pytest.raises(hab.InputError, match=r"on rank \d, .*on rank 0; allowed: the same on every rank") as caught:
        case()
    said = str(caught.value)
    assert said.startswith(f"{field.strip()}: "), said
    assert len(set(cluster.gather(said))) == 1, said
make()
cluster.stop()
print("all are named")
