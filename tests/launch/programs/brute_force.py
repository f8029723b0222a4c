"""Measures the noise of each step on real ranks, beside explicit per-sample gradients.

brute_force.py GLOBAL_BATCH MAX_MICRO_BATCH

Every rank recomputes every piece of every rank by torch.func and compares.
"""

import sys

import torch
from torch.func import functional_call, grad, vmap
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.batches.micro_batch import pieces
from hpc_adabatch.batches.plan import permutation

SAMPLES = 60
global_batch, max_micro = int(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0)
inputs, targets = torch.randn(SAMPLES, 5).double(), torch.randn(SAMPLES, 2).double()
cluster = hab.Cluster.start()
model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2)).double()
parameters = {name: value.detach().clone() for name, value in model.named_parameters()}
training = hab.AdaptiveTraining(
    model,
    torch.optim.SGD(model.parameters(), lr=0.0),
    hab.AdaptiveBatches(TensorDataset(inputs, targets), global_batch, max_micro_batch=max_micro, seed=2),
    cluster=cluster,
    policy=hab.NormTest(window=SAMPLES),
    measure_every=1,
)


def loss(values: dict[str, torch.Tensor], features: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (functional_call(model, values, (features[None],)) - wanted).pow(2).mean()


for name, parameter in parameters.items():  # rank 0's, after the constructor has sent them
    parameter.copy_(dict(model.named_parameters())[name])
table = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, inputs, targets)
gradients = torch.cat([values.flatten(1) for values in table.values()], dim=1)  # (samples, parameters)
order = permutation(2, 0, SAMPLES)

seen = []
whole = training.measuring
assert whole is not None
add = whole._smoother.add
whole._smoother.add = lambda measured, since: (seen.append(measured), add(measured, since))[1]  # type: ignore[method-assign]
for step in training.epoch(0):
    for features, wanted in step:
        step.backward((model(features) - wanted).pow(2).mean())
    step.update()
    chosen = []
    for rank in range(cluster.size):
        positions = list(step.batch.share(rank, cluster.size))
        sizes = pieces(len(positions), max_micro)
        if cluster.size == 1 and len(sizes) == 1 and len(positions) >= 2:
            sizes = pieces(len(positions), -(-len(positions) // 2))
        chosen += [part.tolist() for part in torch.tensor([order[p] for p in positions]).split(sizes)]
    chosen = [part for part in chosen if part]
    if len(chosen) < 2:
        continue
    mean = gradients[order[step.batch.start : step.batch.stop].copy()].mean(0)
    squares = sum(len(part) * gradients[part].mean(0).pow(2).sum().item() for part in chosen)
    variance = (squares - len(step.batch) * mean.pow(2).sum().item()) / (len(chosen) - 1)
    found = seen[-1]
    assert found.pieces == len(chosen), (found.pieces, len(chosen))
    assert found.samples == len(step.batch)
    assert abs(found.variance / variance - 1) < 1e-9, (found.variance, variance)
    assert abs(found.mean_square / mean.pow(2).sum().item() - 1) < 1e-9
assert len(seen) >= 2
print(f"rank {cluster.rank}: {len(seen)} steps agree")
cluster.stop()
