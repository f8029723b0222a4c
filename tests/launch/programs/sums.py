"""Sums gradients over ranks of networks that are not alike everywhere; exits with 1 where one sum is wrong.

Each rank makes another number of passes (rank 0 none) and reaches other layers. The right sum is taken one parameter at
a time, of gradients that autograd returns.
"""

import math
from collections.abc import Callable
from functools import reduce
from operator import add

import torch
from torch import nn

import hpc_adabatch as hab
from hpc_adabatch.training import buckets
from hpc_adabatch.training.buckets import GradientSum

buckets.FIRST_BYTES, buckets.BYTES = 100, 500  # small ones, so that these networks have many
cluster = hab.Cluster.start()


class Network(nn.Module):
    """A network of which each rank uses another branch, with weights of several types and layouts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
        self.branches = nn.ModuleList(nn.Linear(8, 8) for _ in range(cluster.size))
        self.low = nn.Linear(8, 8).bfloat16()
        self.high = nn.Linear(8, 40).double()
        self.never = nn.Linear(2, 2)
        self.empty = nn.Parameter(torch.zeros(0))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.conv(inputs).mean((2, 3))
        hidden = self.branches[cluster.rank](hidden)
        hidden = hidden + self.branches[0](hidden)  # a layer that some ranks use twice
        return self.high(self.low(hidden.bfloat16()).double())


def loss_of(model: nn.Module, number: int) -> torch.Tensor:
    torch.manual_seed(100 * cluster.rank + number)
    return model(torch.randn(4, 3, 6, 6)).pow(2).mean()


for compression, tolerance in (("none", 1e-5), ("fp16", 2e-3)):
    torch.manual_seed(0)
    model = Network()
    parameters = list(model.parameters())
    own = GradientSum(parameters, cluster, compression, numbers=20)
    assert len(own._buckets) > 4
    for step in range(3):
        wanted = [torch.zeros(p.shape, dtype=torch.float64) for p in parameters]
        for number in range(cluster.rank):
            found = torch.autograd.grad(loss_of(model, 10 * step + number), parameters, allow_unused=True)
            for total, part in zip(wanted, found, strict=True):
                if part is not None:
                    total += part
        for place, total in enumerate(wanted):
            cluster.allreduce_(total, f"wanted.{place}")
        own.expect(cluster.rank)
        for number in range(cluster.rank):
            own.backward(loss_of(model, 10 * step + number))
        beside = [[math.sin(rank + 10 * step), 1e300, 1e-310, math.inf * rank] for rank in range(1, cluster.size + 1)]
        own.fill()
        own.send(beside[cluster.rank] * (step + 1))
        assert own.wait() == [reduce(add, column) for column in zip(*beside, strict=True)] * (step + 1)
        assert own.absent
        for (name, parameter), total in zip(model.named_parameters(), wanted, strict=True):
            low = parameter.dtype == torch.bfloat16
            assert parameter.grad is not None
            assert parameter.grad.dtype == parameter.dtype
            error = (parameter.grad.double() - total).norm() / total.norm().clamp(min=1e-3)
            assert error < (2e-2 if low else tolerance), (compression, name, float(error))
            parameter.grad = None
    own.close()

# layers are frozen and unfrozen between steps, and some are in no optimizer: ranks stay equal, and nothing else moves
torch.manual_seed(1 + cluster.rank)
inputs = torch.arange(60.0).view(20, 3).sin()
net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
training = hab.AdaptiveTraining(
    net,
    torch.optim.SGD([*net[4].parameters(), *net[2].parameters()], lr=0.1, momentum=0.9),
    hab.AdaptiveBatches(torch.utils.data.TensorDataset(inputs), 8),
    cluster=cluster,
    options=hab.LoopOptions(clip_norm=0.5),
)
start = [p.clone() for p in net.parameters()]
net[2].requires_grad_(False)
for epoch in range(3):
    net[2].requires_grad_(epoch == 1)
    before = net[2].weight.clone()
    for step in training.epoch(epoch):
        for (x,) in step:
            step.backward(net(x).pow(2).mean())
        lengths = [p.grad.norm() for p in (*net[4].parameters(), *net[2].parameters()) if p.grad is not None]
        step.update()
        assert all(p.grad is None for p in net.parameters())
    assert torch.equal(net[2].weight, before) == (epoch != 1)
for number, (old, parameter) in enumerate(zip(start, net.parameters(), strict=True)):
    assert all(torch.equal(parameter.detach(), other) for other in cluster.gather(parameter.detach())), number
    assert torch.equal(old, parameter) == (number < 2), number

# a layer that rank 1 alone reaches has its gradient everywhere; one that nobody reaches has none, and does not decay
torch.manual_seed(0)
three = nn.ModuleList(nn.Linear(3, 1) for _ in range(3))
training = hab.AdaptiveTraining(
    three,
    torch.optim.SGD(three.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1),
    hab.AdaptiveBatches(torch.utils.data.TensorDataset(inputs), 9),
    cluster=cluster,
)
never = three[2].weight.clone()
for step in training.epoch(0):
    for (x,) in step:
        output = three[0](x) + (three[1](x) if cluster.rank == 1 else 0)
        step.backward(output.pow(2).mean())
    assert [layer.weight.grad is None for layer in three] == [False, cluster.size == 1, True]
    step.update()
assert torch.equal(three[2].weight, never)
assert all(torch.equal(three[1].weight.detach(), other) for other in cluster.gather(three[1].weight.detach()))

# losses are means over words without padding, of which each rank has another number, and the last one may have none
generator = torch.Generator().manual_seed(2)
words = torch.randn(20, 5, 3, generator=generator)
counts = torch.arange(20) % 6 * (torch.arange(20) % 3 > 0)
targets = torch.where(torch.arange(5) < counts[:, None], torch.randint(2, (20, 5), generator=generator), -100)
linear = nn.Linear(3, 2)
training = hab.AdaptiveTraining(
    linear,
    torch.optim.SGD(linear.parameters(), lr=0.1),
    hab.AdaptiveBatches(torch.utils.data.TensorDataset(words, targets), 9, max_micro_batch=2),
    cluster=cluster,
)


def over_words(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(linear(x).flatten(0, 1), t.flatten(), ignore_index=-100)


for step in training.epoch(0):
    seen = []
    for x, t in step:
        seen.append((x, t))
        step.backward(over_words(x, t), weight=(t != -100).sum())
    everyone = [pair for of_rank in cluster.gather(seen) for pair in of_rank]
    loss = over_words(torch.cat([x for x, _ in everyone]), torch.cat([t for _, t in everyone]))
    wanted = torch.autograd.grad(loss, list(linear.parameters()))
    assert abs(step.loss - loss.item()) < 1e-5
    for parameter, expected in zip(linear.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-6)
    step.update()

# nothing is sent in a step but the buckets, be it measured or not
sent, send = [], cluster.allreduce_async_


def note(tensor: torch.Tensor, name: str) -> Callable[[], torch.Tensor]:
    sent.append(name)
    return send(tensor, name)


for policy, measured in ((hab.Fixed(), 0), (hab.NoiseScale(), 3)):
    small = nn.Linear(3, 2)
    training = hab.AdaptiveTraining(
        small,
        torch.optim.SGD(small.parameters(), lr=0.1),
        hab.AdaptiveBatches(torch.utils.data.TensorDataset(inputs), 6, max_global_batch=6),
        cluster=cluster,
        policy=policy,
        options=hab.LoopOptions(measure_every=1),
    )
    cluster.allreduce_async_ = note  # type: ignore[method-assign]
    for step in training.epoch(0):
        for (x,) in step:
            step.backward(small(x).pow(2).mean())
        step.update()
    cluster.allreduce_async_ = send  # type: ignore[method-assign]
    assert training.measuring.measurements == measured
    assert sent == ["gradient.0"] * 3
    sent.clear()
cluster.stop()
print(f"rank {cluster.rank}: sums hold")
