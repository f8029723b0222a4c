"""An infinity on one rank: in a loss, in a gradient of a measured step, in one of a step that is not; and of a step
whose loss is scaled. infinity.py loss|gradient|unmeasured|scaled"""

import math
import sys

import torch
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

torch.manual_seed(0)
cluster = hab.Cluster.start()
model = torch.nn.Linear(4, 1)
training = hab.AdaptiveTraining(
    model,
    hab.LARS(model.parameters(), lr=1.0),
    hab.AdaptiveBatches(TensorDataset(torch.randn(90, 4), torch.randn(90, 1)), 9),
    cluster=cluster,
    policy=hab.NoiseScale(window=30),
    scaler=torch.amp.GradScaler("cpu", init_scale=1024.0) if sys.argv[1] == "scaled" else None,
    options=hab.LoopOptions(measure_every=3 if sys.argv[1] == "unmeasured" else 1),  # the broken step is the fifth
)
weights = []
for step in training.epoch(0):
    broken = training.steps == 4 and cluster.rank == 1
    for inputs, targets in step:
        loss = (model(inputs) - targets).pow(2).mean()
        if broken and sys.argv[1] == "loss":
            loss = loss * math.inf
        if broken and sys.argv[1] != "loss":
            loss = loss + (model.weight - model.weight.detach()).abs().sqrt().sum()  # 0, with an infinite slope
        step.backward(loss)
    step.update()
    weights.append(model.weight.detach().clone())
everyone = cluster.gather(weights)
assert all(torch.equal(a, b) for other in everyone for a, b in zip(other, weights, strict=True)), "ranks disagree"
assert all(torch.isfinite(weight).all() for weight in weights)
assert training.skipped == 1
assert torch.equal(weights[4], weights[3]), "the broken step changed the weights"
assert not torch.equal(weights[5], weights[4]), "training did not go on"
assert not training.scaler.is_enabled() or training.scaler.get_scale() == 512.0, "the scale did not back off"
estimate = training.progress.estimate
assert estimate is not None
assert math.isfinite(estimate.variance)
assert math.isfinite(estimate.signal)
print(f"rank {cluster.rank}: skipped together")
cluster.stop()
