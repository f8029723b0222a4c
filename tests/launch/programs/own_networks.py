"""Trains networks of a script's own, which one process trains, on all ranks; exits with 1 where one does otherwise."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.run.noise import Watch
from hpc_adabatch.tasks import Logistic
from hpc_adabatch.tasks.convex import Linear
from hpc_adabatch.tasks.features import SparseRows

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

# weights of less than 32 bits, and of another layout: as one process trains them, or a rank would drift from the others
CHANGED = {
    "bfloat16": lambda model: model.bfloat16(),
    "half of it in bfloat16": lambda model: model[0].bfloat16() and model,
    "channels last": lambda model: model.to(memory_format=torch.channels_last),
    "both": lambda model: model.to(memory_format=torch.channels_last).bfloat16(),
    "float64": lambda model: model.double(),
}
LOW = ("bfloat16", "half of it in bfloat16", "both")


class Cast(nn.Module):
    """A layer that makes the next one's type of what it is given."""

    def __init__(self, following: nn.Module) -> None:
        super().__init__()
        self.following = following

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.following(inputs.to(next(self.following.parameters()).dtype))


def steps(where: hab.Cluster, change: Any, momentum: float) -> tuple[list[torch.Tensor], nn.Module]:
    """The weights after four steps, and after each the gradients were of the weights' own type and layout."""
    torch.manual_seed(0 if where.size == 1 else cluster.rank)  # rank 0's weights are sent to all
    convolution = Cast(nn.Conv2d(3, 4, 2))
    model = nn.Sequential(convolution, nn.Flatten(), nn.Tanh(), Cast(nn.Linear(16, 1)))
    model.register_buffer("seen", torch.zeros(1, 3, 2, 2))
    change(model)
    batches = hab.AdaptiveBatches(TensorDataset(images, targets), 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
    options = hab.LoopOptions(clip_norm=1.0, measure_every=2)
    policy = Watch() if momentum else None  # measures
    loop = hab.AdaptiveTraining(model, optimizer, batches, cluster=where, options=options, policy=policy)
    for step in loop.epoch(0):
        for inputs, wanted in step:
            step.backward(nn.functional.mse_loss(model(inputs).float(), wanted))
        for parameter in model.parameters():
            assert parameter.grad is not None
            assert (parameter.grad.dtype, parameter.grad.stride()) == (parameter.dtype, parameter.stride())
        step.update()
    model.seen.fill_(where.rank)
    loop.average_buffers()
    assert torch.equal(model.seen, torch.full_like(model.seen, (where.size - 1) / 2 if where.size > 1 else where.rank))
    return [parameter.detach().clone() for parameter in model.parameters()], model


for name, change in CHANGED.items():
    for momentum in (0.0, 0.9):
        found, model = steps(cluster, change, momentum)
        alone, other = steps(SingleProcess(cluster.device), change, momentum)
        for mine, wanted in zip(found, alone, strict=True):
            assert (mine.dtype, mine.stride()) == (wanted.dtype, wanted.stride()), name
            close = {"rtol": 5e-2, "atol": 2e-2} if name in LOW else {"rtol": 1e-4, "atol": 1e-5}
            torch.testing.assert_close(mine, wanted, **close, msg=lambda told, name=name: f"{name}: {told}")
            assert all(torch.equal(mine, its) for its in cluster.gather(mine)), name

# samples without their zeros
dense = torch.where(images > 1, images, 0).flatten(1).double()
labels = (targets[:, 0] > 0).double()
weights = []
for features in (dense, SparseRows(dense.to_sparse())):
    task, linear = Logistic(), Linear(27, 1e-2)
    loop = hab.AdaptiveTraining(
        linear,
        torch.optim.SGD(linear.parameters(), lr=0.5),
        hab.AdaptiveBatches(TensorDataset(features, labels), 6),
        cluster=cluster,
    )
    for step in loop.epoch(0):
        for inputs, wanted in step:
            step.backward(task.loss(linear(inputs), wanted))
        step.update()
    weights.append(linear.weight.detach())
torch.testing.assert_close(*weights)
cluster.stop()
print(f"rank {cluster.rank}: all train alike")
