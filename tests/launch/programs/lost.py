"""A script that loses rank 1 after step 5: it leaves its loop, or is frozen. No limit is set; ranks hear within 2 s.

lost.py leaves | freezes
"""

import os
import signal
import sys

import torch
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch.cluster import heartbeat

heartbeat.SILENT_S = 2.0
torch.manual_seed(0)  # every rank has the same training set
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
        if sys.argv[1] == "leaves":
            break
        os.kill(os.getpid(), signal.SIGSTOP)
cluster.stop()
