"""Passes of one sample before batch normalisation of one position: one line at the first pass, with what to type."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess

POSITIONS = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())  # of images of 3x3: one
NETWORKS = {
    "vectors": nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
    "1x1": nn.Sequential(POSITIONS, nn.Flatten(), nn.Linear(4, 1)),
    "3x3": nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(9, 1)),
    "frozen": nn.Sequential(nn.Flatten(), nn.BatchNorm1d(9).eval(), nn.Linear(9, 1)),
}


def trained(network: str, samples: int, batch: int, max_micro_batch: int | None) -> hab.AdaptiveTraining:
    model = copy.deepcopy(NETWORKS[network])
    data = TensorDataset(torch.randn(samples, 1, 3, 3), torch.randn(samples, 1))
    batches = hab.AdaptiveBatches(data, batch, max_micro_batch=max_micro_batch)
    loop = hab.AdaptiveTraining(model, torch.optim.SGD(model.parameters(), lr=0.01), batches, cluster=SingleProcess())
    for epoch in range(2):
        for step in loop.epoch(epoch):
            for inputs, targets in step:
                step.backward(nn.functional.mse_loss(model(inputs), targets))
            step.update()
            copy.deepcopy(model)  # a network with hooks of ours could not be copied, nor saved whole
            assert not any(module._forward_pre_hooks for module in model.modules())
    return loop


@pytest.mark.parametrize("network", ["vectors", "1x1"])
@pytest.mark.parametrize(
    ("samples", "batch", "max_micro_batch", "words"),
    [
        (9, 1, None, "--global_batch 2 --max_micro_batch 3"),
        (30, 10, 1, "--max_micro_batch 2"),
        (30, 9, 2, "--max_micro_batch 3"),
        (11, 4, 2, "--max_micro_batch 3"),  # the last step has 3
    ],
)
def test_it_is_told_before_the_first_update(
    network: str, samples: int, batch: int, max_micro_batch: int | None, words: str
) -> None:
    """Bug story: torch's ValueError at an epoch's end, and at the same step of every resumed run."""
    told = rf"^global_batch: given {batch} on 1 .*for batch normalisation of one position \((0\.1|2)\); type {words}$"
    with pytest.raises(hab.InputError, match=told):
        trained(network, samples, batch, max_micro_batch)


@pytest.mark.parametrize(
    ("network", "samples", "batch", "max_micro_batch"),
    [
        ("3x3", 5, 1, 1),
        ("frozen", 5, 1, 1),
        ("vectors", 3, 2, 3),  # one step of three
        ("vectors", 30, 10, 2),
        ("1x1", 31, 10, 3),
    ],
)
def test_what_can_be_trained_is(network: str, samples: int, batch: int, max_micro_batch: int | None) -> None:
    assert trained(network, samples, batch, max_micro_batch).plan.samples_seen == 2 * samples


@pytest.mark.parametrize("largest", [9, 10, 11])
def test_a_batch_is_not_lengthened_by_one_sample(largest: int) -> None:
    """The largest batch allowed may be one above the batch in hand."""
    model = copy.deepcopy(NETWORKS["vectors"])
    data = TensorDataset(torch.randn(40, 1, 3, 3), torch.randn(40, 1))
    batches = hab.AdaptiveBatches(data, 8, max_global_batch=largest)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    policy = hab.BigBatch(theta=1e-3)  # never passes its test
    loop = hab.AdaptiveTraining(model, optimizer, batches, cluster=SingleProcess(), policy=policy)
    passes = []
    for step in loop.epoch(0):
        for inputs, targets in step:
            passes.append(len(inputs))
            step.backward(nn.functional.mse_loss(model(inputs), targets))
        step.update()
    assert min(passes) >= 2
    assert sum(passes) == 40
    assert loop.global_batch == largest
