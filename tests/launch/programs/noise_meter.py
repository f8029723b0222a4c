"""Meters the noise in somebody's loop on real ranks, beside our own loop and the gradient of every sample.

noise_meter.py ddp|horovod
"""

import gc
import math
import sys
from contextlib import nullcontext
from copy import deepcopy
from itertools import count

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

SAMPLES, DDP = 60, sys.argv[1] == "ddp"
cluster = hab.Cluster.start()
rank, ranks = cluster.rank, cluster.size
data = torch.randn(SAMPLES, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.3
names = count()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2)).double()


def loss(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return (model(inputs) - 1).pow(2).mean()


class Loop:
    """A loop whose gradients DDP or Horovod averages, with a meter where it is told how to measure."""

    def __init__(self, measured: dict | None, lr: float = 0.05, to_none: bool = True, **how: object) -> None:
        self.model, self.to_none = network(), to_none
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=0.9)
        if DDP:
            self.model = DistributedDataParallel(self.model, bucket_cap_mb=2e-4, **how)
        else:
            import horovod.torch as hvd

            named = [(f"{next(names)}.{name}", parameter) for name, parameter in self.model.named_parameters()]
            op = hvd.Sum if how.get("sums") else hvd.Average
            self.optimizer = hvd.DistributedOptimizer(self.optimizer, named_parameters=named, op=op)
        self.meter = None
        if measured is not None:
            self.meter = hab.NoiseMeter(self.model, None if DDP else self.optimizer, **measured)

    def step(self, parts: list[torch.Tensor], of: int | None = None, announced: int = 9) -> None:
        """Takes a step; ``of`` the samples of all ranks, if the loop weighs by samples."""
        if not DDP:
            self.optimizer.set_backward_passes_per_step(len(parts))
        for number, part in enumerate(parts):
            if self.meter and number < announced:
                self.meter.piece(len(part), len(part) if of else 1.0)
            with self.model.no_sync() if DDP and number + 1 < len(parts) else nullcontext():
                weight = len(part) * ranks / of if of else 1 / len(parts)
                (loss(self.model, part) * weight).backward()
        if self.meter and DDP:
            self.meter.step()
        self.optimizer.step()
        if self.meter and not DDP:
            self.meter.step()
        self.optimizer.zero_grad(*[self.to_none] if DDP else [])


def refused(use: object, words: str) -> None:
    found = ""
    try:
        use()  # type: ignore[operator]
    except hab.InputError as error:
        found = str(error)
    assert words in found, (words, found)


# our own loop, and theirs on the same passes
model, seen = network(), []
training = hab.AdaptiveTraining(
    model,
    torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    hab.AdaptiveBatches(TensorDataset(data), batch := 7 * ranks - 1, max_global_batch=batch, max_micro_batch=4, seed=2),
    cluster=cluster,
    policy=hab.NormTest(window=50),
    options=hab.LoopOptions(measure_every=2),
)
for epoch in range(3):
    for step in training.epoch(epoch):
        passes = []
        for (inputs,) in step:
            passes.append(inputs)
            step.backward(loss(model, inputs))
        step.update()
        seen.append((passes, len(step.batch)))
own = training.measuring.estimate
assert own is not None
assert max(len(passes) for passes, _ in seen) == 2
theirs = Loop({"every": 2, "population": SAMPLES, "window": 50})
for passes, samples in seen:
    theirs.step(passes, of=samples)
assert theirs.meter is not None
assert theirs.meter.measurements == training.measuring.measurements >= 4
for name in ("noise_scale", "low", "high", "variance", "signal"):
    found, expected = getattr(theirs.meter, name), getattr(own, name)
    assert found == expected or math.isclose(found, expected, rel_tol=1e-9), (name, found, expected)
assert len(set(cluster.gather((theirs.meter.noise_scale, theirs.meter.low, theirs.meter.high)))) == 1

# ranks that count alike, whatever samples each has: against torch.func
sizes = [(3 + r, 2) for r in range(ranks)]
total, chunks = sum(map(sum, sizes)), [b for pair in sizes for b in pair]
theirs = Loop({"every": 1, "population": SAMPLES, "window": math.inf}, lr=0.0)
summing = Loop({"every": 1, "window": math.inf}, lr=0.0, **({} if DDP else {"sums": True}))
values = {name: parameter.detach() for name, parameter in network().named_parameters()}


def of_one(values: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    return (functional_call(model, values, (inputs[None],)) - 1).pow(2).mean()


table = vmap(grad(of_one), in_dims=(None, 0))(values, data)
gradients = torch.cat([rows.flatten(1) for rows in table.values()], dim=1)
variances, signals = [], []
for number in range(SAMPLES // total):
    chosen = torch.arange(number * total, (number + 1) * total)
    parts = chosen.split(chunks)
    for loop in (theirs, summing):
        loop.step([data[part] for part in parts[2 * rank : 2 * rank + 2]])
    g = torch.stack([gradients[part].mean(0) for part in parts])
    mean, n, inverses = g.mean(0), len(chunks), sum(1 / b for b in chunks)
    variances.append(n / (n - 1) * float((g - mean).pow(2).sum()) / inverses)
    signals.append(float(mean @ mean) - variances[-1] * (inverses / n**2 - 1 / SAMPLES))
assert theirs.meter is not None
assert math.isclose(theirs.meter.variance, sum(variances) / len(variances), rel_tol=1e-9)
assert math.isclose(theirs.meter.signal, sum(signals) / len(signals), rel_tol=1e-9)
assert summing.meter is not None  # a gradient that Horovod sums is longer
assert math.isclose(summing.meter.variance, theirs.meter.variance * (1 if DDP else ranks**2), rel_tol=1e-9)

# the same bits with and without a meter: buckets are built anew after the first step
wraps = [{"gradient_as_bucket_view": view, "to_none": none} for view in (False, True) for none in (True, False)]
for how in wraps if DDP else [{}]:
    weights = []
    for measured in (None, {"every": 3}):
        one = Loop(measured, **how)
        for number in range(8):
            one.step(list(data[5 * number + rank :][:9].split(3 + rank)))
        weights.append([parameter.detach() for parameter in one.model.parameters()])
    assert all(map(torch.equal, *weights)), how

# wrong uses, refused on all ranks, of which none waits
refused(lambda: hab.NoiseMeter(network()), "DistributedDataParallel" if DDP else "hvd.DistributedOptimizer")
theirs = Loop({})
theirs.step([data[:4]] * (2 if rank == 0 else 1), announced=1)
refused(lambda: theirs.step([data[:4]]), "and 1 backward pass(es) more")  # the step before, whose numbers are there now

# a step that is not finite: all ranks measure another, also if one of them looks between
theirs = Loop({"every": 4, "window": math.inf}, lr=0.0)
for number in range(8):
    weights = deepcopy(theirs.model.state_dict())
    theirs.step([data[5 * number + rank :][:4] * (math.inf if number == 0 else 1.0)])
    theirs.model.load_state_dict(weights)
    theirs.optimizer.state.clear()
    assert rank > 0 or theirs.meter.measurements == (0, 0, 1, 1, 1, 1, 2, 2)[number]  # type: ignore[union-attr]
assert theirs.meter.measurements == 2  # type: ignore[union-attr]
if not DDP:
    theirs = Loop({})
    theirs.meter.piece(4)  # type: ignore[union-attr]
    loss(theirs.model, data[:4]).backward()
    refused(theirs.meter.step, "Horovod is still adding up")  # type: ignore[union-attr]
    theirs.optimizer.step()

# numbers are read when the ranks have parted
theirs = Loop({"every": 1})
for number in range(3):
    theirs.step([data[5 * number + rank :][:4]])
last = theirs.meter
theirs = summing = loop = one = None
gc.collect()  # else DDP keeps a thread of Gloo that may abort this process at its end (pytorch/pytorch#190489)
cluster.stop()
assert last.measurements == 3  # type: ignore[union-attr]
print(f"rank {rank}: the meter is right")
