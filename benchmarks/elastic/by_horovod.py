"""An epoch with Horovod Elastic, as its documentation has it: state in memory, committed after each step."""

from __future__ import annotations

import horovod.torch as hvd
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from work import GLOBAL_BATCH, Log, dataset, network

hvd.init()
log, data, model = Log(), dataset(), network()
optimizer = hvd.DistributedOptimizer(
    torch.optim.SGD(model.parameters(), lr=0.01), named_parameters=model.named_parameters()
)
sampler = hvd.elastic.ElasticSampler(data, shuffle=True)
state = hvd.elastic.TorchState(model=model, optimizer=optimizer, sampler=sampler)


@hvd.elastic.run
def train(state: hvd.elastic.TorchState) -> None:
    """Trains on what is left of the epoch."""
    local_batch = GLOBAL_BATCH // hvd.size()
    for index, (values, labels, places) in enumerate(DataLoader(data, batch_size=local_batch, sampler=state.sampler)):
        optimizer.zero_grad()
        cross_entropy(model(values), labels).backward()
        optimizer.step()
        state.sampler.record_batch(index, local_batch)
        log.step(hvd.rank(), hvd.size(), places)
        state.commit()


train(state)
