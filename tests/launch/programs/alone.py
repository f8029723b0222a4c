"""Calls Horovod's own ``hvd.init()`` under torchrun, before the ranks are joined or after: each is rank 0 of one there.

alone.py before|after
"""

import sys

import pytest
import torch
from torch.utils.data import TensorDataset

import hpc_adabatch as hab

if sys.argv[1] == "before":
    import horovod.torch as hvd

    hvd.init()
    with pytest.raises(hab.InputError, match=r"hvd.init\(\): given 1 rank\(s\) joined of 2.*cluster.rank"):
        hab.Cluster.start()
else:
    cluster = hab.Cluster.start()
    import horovod.torch as hvd

    hvd.init()
    model, data = torch.nn.Linear(3, 1), TensorDataset(torch.zeros(8, 3), torch.zeros(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(hab.InputError, match=r"hvd.init\(\): given 1 rank\(s\) joined of 2.*cluster.rank"):
        hab.AdaptiveTraining(model, optimizer, hab.AdaptiveBatches(data, 4), cluster=cluster)
print(f"rank {hvd.rank()} of {hvd.size()}: refused")
