"""The same epoch with this package: when it is asked to, it leaves with a checkpoint, and the next launch goes on."""

from __future__ import annotations

import os

import torch
from torch.nn.functional import cross_entropy
from work import GLOBAL_BATCH, Log, dataset, network

import hpc_adabatch as hab

cluster = hab.Cluster.start()
log, model = Log(), network()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
batches = hab.AdaptiveBatches(dataset(), global_batch=GLOBAL_BATCH, max_micro_batch=GLOBAL_BATCH, seed=0)
training = hab.AdaptiveTraining(model, optimizer, batches, cluster=cluster)
with hab.Run(os.environ["ELASTIC_RUN"], training, epochs=1) as run:
    for epoch in run.epochs():
        for step in run.epoch(epoch):
            for values, labels, places in step:
                step.backward(cross_entropy(model(values), labels))
                log.step(cluster.rank, cluster.size, places)
            step.update()
cluster.stop()
