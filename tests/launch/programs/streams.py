"""Trains over streams: every sample once over all ranks, and what one rank alone cannot read ends all with its line."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

import hpc_adabatch as hab

N = 60
cluster = hab.Cluster.start()
last = cluster.size - 1


class Numbers(IterableDataset[torch.Tensor]):
    """Sample i is i; a rank sees no sample of others."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self.strided(0, 1)

    def strided(self, start: int, step: int) -> Iterator[torch.Tensor]:
        return (torch.tensor([float(number)]) for number in range(start, self.length, step))


class Damaged(Dataset[torch.Tensor]):
    """Samples of which the last rank cannot read those from 40 on."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> torch.Tensor:
        if cluster.rank == last and index >= 40:
            raise hab.InputError("root", f"sample {index}", "samples that can be read")
        return torch.tensor([float(index)])


def training(dataset: Any, rule: hab.Policy | None = None, **how: Any) -> hab.AdaptiveTraining:
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    batches = hab.AdaptiveBatches(dataset, 7, max_micro_batch=2, **how)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    options = hab.LoopOptions(measure_every=1)
    return hab.AdaptiveTraining(model, optimizer, batches, cluster=cluster, policy=rule, options=options)


def run(loop: hab.AdaptiveTraining, epochs: int, until: int = 10**9) -> list[list[int]]:
    """Trains. Returns the samples of each step, over all ranks."""
    visited = []
    for epoch in range(epochs):
        for step in loop.epoch(epoch):
            own: list[int] = []
            for numbers in step:
                own += [int(number) for number in numbers]
                step.backward(loop.model(numbers).mean())
            step.update()
            visited.append(sorted(number for of_rank in cluster.gather(own) for number in of_rank))
            if loop.steps == until:
                return visited
    return visited


rule = {"rule": hab.Schedule(text="0:7 14sa:3 20sa:17")}
whole = run(training(Numbers(N), samples_per_epoch=N, **rule), 2)
assert [number for step in whole for number in step] == 2 * list(range(N)), whole
begun, resumed = (training(Numbers(N), samples_per_epoch=N, **rule) for _ in range(2))
before = run(begun, 2, until=3)
resumed.load_state_dict(begun.state_dict())
assert before + run(resumed, 2) == whole

ENDS: dict[str, Callable[[], object]] = {  # each of them is seen by one rank alone
    f"samples_per_epoch: given {N}, and the stream has no sample 59": lambda: run(
        training(Numbers(N - 1), samples_per_epoch=N), 1
    ),
    f"samples_per_epoch: given {N}, after which the stream goes on": lambda: run(
        training(Numbers(N + 1), samples_per_epoch=N), 2
    ),
    "root: given sample 57": lambda: run(training(Damaged()), 1),  # before the first pass of a step
    "root: given sample 53": lambda: run(training(Damaged(), hab.NoiseScale(), seed=1), 1),  # after it, measured
}
for said, end in ENDS.items():
    with pytest.raises(hab.InputError) as caught:
        end()
    lines = cluster.gather((str(caught.value), caught.value.shared))
    assert all(line.startswith(said) and shared for line, shared in lines), lines
cluster.stop()
print("streams hold")
