"""Trains a network in float64 for 50 steps (STEPS) with a batch that changes inside epochs; writes weights and samples.

exact.py OUT MAX_MICRO_BATCH [CLIP_NORM [COMPRESSION [STEPS]]]
"""

import sys

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

SAMPLES, STEPS = 203, int(sys.argv[5]) if len(sys.argv) > 5 else 50
torch.manual_seed(0)
inputs, targets = torch.randn(SAMPLES, 12, dtype=torch.float64), torch.randint(0, 5, (SAMPLES,))
dataset = TensorDataset(inputs, targets, torch.arange(SAMPLES))

cluster = hab.Cluster.start()
torch.manual_seed(cluster.rank)  # rank 0's weights must win
model = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.Tanh(), torch.nn.Linear(16, 5)).double()
model.to(cluster.device)
if cluster.rank == 0:
    torch.manual_seed(7)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
training = hab.AdaptiveTraining(
    model,
    hab.LARS(hab.parameter_groups(model, weight_decay=1e-3), lr=5.0),
    hab.AdaptiveBatches(dataset, 10, max_micro_batch=int(sys.argv[2]), seed=3),
    cluster=cluster,
    policy=hab.Schedule(text="0:10 90sa:37 300sa:3 345sa:24 700sa:61"),
    learning_rate=hab.LearningRate("sqrt", warmup="legw", warmup_epochs=0.5),
    options=hab.LoopOptions(
        clip_norm=float(sys.argv[3]) if len(sys.argv) > 3 else None,
        compression="fp16" if "fp16" in sys.argv[4:] else "none",
    ),
)
visited: dict[int, list[int]] = {}
batches: list[int] = []
for epoch in range(100):
    for step in training.epoch(epoch):
        for features, labels, indices in step:
            visited.setdefault(epoch, []).extend(indices.tolist())
            step.backward(cross_entropy(model(features), labels))
        step.update()
        batches.append(len(step.batch))
        if training.steps == STEPS:
            break
    if training.steps == STEPS:
        break
everyone = cluster.gather(visited)
if cluster.rank == 0:
    together = {e: sorted(i for rank in everyone for i in rank.get(e, [])) for e in range(epoch + 1)}
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    torch.save({"weights": weights, "visited": together, "batches": batches}, sys.argv[1])
cluster.stop()
