"""A script whose rank 1 leaves its loop before the others do. Its watchdog is the one that it did not ask for."""

import torch
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

cluster = hab.Cluster.start()
model = torch.nn.Linear(4, 1)
training = hab.AdaptiveTraining(
    model,
    torch.optim.SGD(model.parameters(), lr=0.1),
    hab.AdaptiveBatches(TensorDataset(torch.randn(90, 4), torch.randn(90, 1)), 9),
    cluster=cluster,
)
for step in training.epoch(0):
    for inputs, targets in step:
        step.backward((model(inputs) - targets).pow(2).mean())
    step.update()
    if cluster.rank == 1 and training.steps == 5:
        break
cluster.stop()
