"""Trains networks of a script's own, which one process trains, on all ranks; exits with 1 where one does otherwise."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

cluster = hab.Cluster.start()
draw = torch.Generator().manual_seed(0)
images, targets = torch.randn(30, 3, 3, 3, generator=draw), torch.randn(30, 1, generator=draw)


def trained(model: nn.Module, samples: int, batch: int) -> hab.AdaptiveTraining:
    """One epoch."""
    data = TensorDataset(images[:samples], targets[:samples])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loop = hab.AdaptiveTraining(model, optimizer, hab.AdaptiveBatches(data, batch), cluster=cluster)
    for step in loop.epoch(0):
        for inputs, wanted in step:
            step.backward(nn.functional.mse_loss(model(inputs), wanted))
        step.update()
    return loop


# batch normalisation of one position: a rank whose share is one sample is told, on all ranks, before the first sum

for body in (nn.Sequential(nn.Flatten(), nn.Linear(27, 4), nn.BatchNorm1d(4)), nn.Conv2d(3, 4, 3)):
    model = nn.Sequential(body, *([nn.BatchNorm2d(4)] if isinstance(body, nn.Conv2d) else []), nn.Flatten())
    model.append(nn.Linear(4, 1))
    for samples, batch, larger in (
        (30, 3, 4),  # shares of 2 and 1
        (30, 2, 4),
        (7, 4, 5),  # the last two steps share what whole batches leave
    ):
        with pytest.raises(hab.InputError) as caught:
            trained(model, samples, batch)
        assert caught.value.shared, samples
        (said,) = set(cluster.gather(str(caught.value)))
        assert said.startswith(f"global_batch: given {batch} on 2 rank(s), of which a pass has one sample; "), said
        assert f"; write global_batch={larger}" in said, said
        assert trained(model, samples, larger).plan.epoch_finished, samples
cluster.stop()
print(f"rank {cluster.rank}: all train alike")
