"""A script whose loss is infinite on one rank from the sixth step on: the same exception on all ranks, at one step.

Its watchdog is the one that it did not ask for.
"""

import math
import threading

import torch
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

torch.manual_seed(0)  # every rank has the same training set
cluster = hab.Cluster.start()
model = torch.nn.Linear(4, 1)
training = hab.AdaptiveTraining(
    model,
    torch.optim.SGD(model.parameters(), lr=0.1),
    hab.AdaptiveBatches(TensorDataset(torch.randn(90, 4), torch.randn(90, 1)), 9),
    cluster=cluster,
    options=hab.LoopOptions(max_skipped=3),
)
try:
    for epoch in training.epochs(4):
        for step in training.epoch(epoch):
            for inputs, targets in step:
                loss = (model(inputs) - targets).pow(2).mean()
                step.backward(loss * math.inf if cluster.rank == 1 and training.steps >= 5 else loss)
            step.update()
except hab.DivergedError:
    print(f"rank {cluster.rank}: diverged at step {training.steps}")
assert cluster.watchdog.limit_s == 600.0, "the default limit, after steps of milliseconds"
assert [thread.name for thread in threading.enumerate()].count("watchdog") == 1
cluster.stop()
assert all(thread.name != "watchdog" for thread in threading.enumerate()), "its thread is left"
