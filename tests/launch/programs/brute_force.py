"""Measures the noise of each step on real ranks, beside explicit per-sample gradients.

brute_force.py GLOBAL_BATCH MAX_MICRO_BATCH [inner] [scaled] [moments]

Every rank recomputes every piece of every rank by torch.func and compares. ``inner``: pieces are kept for inner
products; ``scaled``: a GradScaler multiplies the losses; ``moments``: gradients are divided by the root of AdamW's
second moments, from its fifth step on.
"""

import sys

import torch
from torch.func import functional_call, grad, vmap
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.batches import GlobalBatch
from hpc_adabatch.batches.micro_batch import pieces
from hpc_adabatch.batches.plan import permutation
from hpc_adabatch.gradients import Measurement

SAMPLES = 60
global_batch, max_micro = int(sys.argv[1]), int(sys.argv[2])
inner, scaled, moments = (word in sys.argv for word in ("inner", "scaled", "moments"))
torch.manual_seed(0)
inputs, targets = torch.randn(SAMPLES, 5).double(), torch.randn(SAMPLES, 2).double()
cluster = hab.Cluster.start()
model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2)).double()
parameters = {name: value.detach().clone() for name, value in model.named_parameters()}
stays = torch.optim.AdamW(model.parameters(), lr=0.0) if moments else torch.optim.SGD(model.parameters(), lr=0.0)
training = hab.AdaptiveTraining(
    model,
    stays,
    hab.AdaptiveBatches(TensorDataset(inputs, targets), global_batch, max_micro_batch=max_micro, seed=2),
    cluster=cluster,
    policy=hab.InnerProduct(window=SAMPLES) if inner else hab.NormTest(window=SAMPLES),
    scaler=torch.amp.GradScaler("cpu") if scaled else None,
    options=hab.LoopOptions(measure_every=1, noise_geometry="optimizer" if moments else "gradient"),
)


def loss(values: dict[str, torch.Tensor], features: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (functional_call(model, values, (features[None],)) - wanted).pow(2).mean()


for name, parameter in parameters.items():  # rank 0's, after the constructor has sent them
    parameter.copy_(dict(model.named_parameters())[name])
table = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, inputs, targets)
plain = torch.cat([values.flatten(1) for values in table.values()], dim=1)  # (samples, parameters)


def pieces_of(rank: int, batch: GlobalBatch) -> list[list[int]]:
    """Dataset indices of each piece of a rank."""
    positions = list(batch.share(rank, cluster.size))
    sizes = pieces(len(positions), max_micro)
    if cluster.size == 1 and len(sizes) == 1 and len(positions) >= 2:
        sizes = pieces(len(positions), -(-len(positions) // 2))
    if inner:  # kept: all passes of a rank together, or the first and the second half of one rank's
        half = -(-len(sizes) // 2)
        sizes = [sum(sizes)] if cluster.size > 1 else [sum(sizes[:half]), sum(sizes[half:])]
    return [part.tolist() for part in torch.tensor([order[p] for p in positions]).split(sizes) if len(part)]


def divisors() -> torch.Tensor:
    """What AdamW's next step divides by, but for that step's own gradient. Shape (parameters,)."""
    states = [stays.state[parameter] for parameter in model.parameters()]
    roots = [(state["exp_avg_sq"] / (1 - 0.999 ** int(state["step"]))).sqrt() + 1e-8 for state in states]
    return torch.cat([root.flatten() for root in roots])


def agree(found: float, expected: float) -> bool:
    return abs(found - expected) <= 1e-9 * abs(expected) + 1e-14


seen: list[Measurement] = []
steps = ((epoch, step) for epoch in range(3 if moments else 1) for step in training.epoch(epoch))
for epoch, step in steps:
    order = permutation(2, epoch, SAMPLES)
    gradients = plain / divisors() if moments and training.steps >= 5 else plain
    for features, wanted in step:
        step.backward((model(features) - wanted).pow(2).mean())
    step.update()
    chosen = [part for rank in range(cluster.size) for part in pieces_of(rank, step.batch)]
    if len(chosen) < 2 or (moments and training.steps <= 5):
        continue
    mean = gradients[order[step.batch.start : step.batch.stop].copy()].mean(0)
    square = mean.pow(2).sum().item()
    means = [(len(part), gradients[part].mean(0)) for part in chosen]
    n, size = len(chosen), len(step.batch)
    variance = sum(b * (g - mean).pow(2).sum().item() for b, g in means) / (n - 1)
    found = training.measuring.last
    assert found is not None
    assert (found.pieces, found.samples) == (n, size)
    assert agree(found.variance, variance), (found.variance, variance)
    assert agree(found.mean_square, square)
    assert agree(found.signal, square - variance * (1 / size - 1 / SAMPLES))
    if inner:
        along = sum(b * ((g - mean) @ mean).item() ** 2 for b, g in means) / (n - 1)
        across = sum(b * (g - (g @ mean) / square * mean).pow(2).sum().item() for b, g in means) / (n - 1)
        assert agree(found.inner_variance, along), (found.inner_variance, along)
        assert agree(found.orthogonal_variance, across), (found.orthogonal_variance, across)
    seen.append(found)
assert len(seen) >= 2
print(f"rank {cluster.rank}: {len(seen)} steps agree")
cluster.stop()
