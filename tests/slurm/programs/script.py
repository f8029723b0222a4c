"""A user's script whose job is told to stop, in its first start, after the 20th step: it waits there until it is.

script.py FOLDER
"""

import os
import sys
import time
from pathlib import Path

import torch
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

cluster = hab.Cluster.start()
draw = torch.Generator().manual_seed(0)
data = TensorDataset(torch.randn(120, 4, generator=draw), torch.randn(120, 1, generator=draw))
model = torch.nn.Linear(4, 1)
training = hab.AdaptiveTraining(
    model,
    torch.optim.SGD(model.parameters(), lr=0.05),
    hab.AdaptiveBatches(data, 8),
    cluster=cluster,
    options=hab.LoopOptions(journal_every=1),
)
with hab.Run(sys.argv[1], training, epochs=3) as run:
    for epoch in run.epochs():
        for step in run.epoch(epoch):
            for inputs, targets in step:
                step.backward((model(inputs) - targets).square().mean())
            step.update()
            told = Path(os.environ["ADABATCH_STOP_FILE"])
            while training.steps == 20 and os.environ["SLURM_RESTART_COUNT"] == "0" and not told.exists():
                cluster.watchdog.beat()
                time.sleep(0.1)
            if told.exists():
                time.sleep(0.1)  # else the epochs that are left may end before the file is looked for again
cluster.stop()
