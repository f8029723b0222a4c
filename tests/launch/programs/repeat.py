"""Trains a network of many layers in float32 for 40 steps, and prints a sum of its weights' bits.

repeat.py
"""

import hashlib
import time

import torch
from torch import nn

import hpc_adabatch as hab

cluster = hab.Cluster.start()
torch.manual_seed(0)
inputs = torch.randn(640, 24)
layers = [layer for _ in range(24) for layer in (nn.Linear(24, 24), nn.Tanh())]
model = nn.Sequential(*layers)
training = hab.AdaptiveTraining(
    model,
    torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    hab.AdaptiveBatches(torch.utils.data.TensorDataset(inputs), 32, seed=1),
    cluster=cluster,
)
for epoch in range(2):
    for step in training.epoch(epoch):
        for (x,) in step:
            loss = (model(x) - x).pow(2).mean()
            time.sleep(0.002 * (hash((time.monotonic_ns(), cluster.rank)) % 3))  # ranks are never in step
            step.backward(loss)
        step.update()
bits = b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())
print(f"bits {hashlib.sha256(bits).hexdigest()}\n", end="", flush=True)
cluster.stop()
