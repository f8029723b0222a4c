"""Oracles O12 and O13 of LARS and LAMB on 2 ranks with different data; exits with 1 where one fails."""

import horovod.torch as hvd
import torch

from hpc_adabatch.cluster import Cluster
from hpc_adabatch.optim import LAMB, LARS

cluster = Cluster.start()
torch.set_default_dtype(torch.float64)
data = [
    torch.randn(8, 6, generator=torch.Generator().manual_seed(rank)) * (1 + 9 * rank) for rank in range(cluster.size)
]


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 3))


def loss(model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return (model(inputs) - inputs[:, :3]).pow(2).mean()


def flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


for kind, rate in ((LARS, 3.0), (LAMB, 0.1)):
    alone, wrong, together = network(), network(), network()
    serial = kind(alone.parameters(), lr=rate, weight_decay=0.01)
    ratio_first = kind(wrong.parameters(), lr=rate, weight_decay=0.01)
    horovods = hvd.DistributedOptimizer(
        kind(together.parameters(), lr=rate, weight_decay=0.01), together.named_parameters(prefix=kind.__name__)
    )
    for step in range(6):
        for optimizer in (serial, ratio_first, horovods):
            optimizer.param_groups[0]["lr"] = rate / (1 + step)
        serial.zero_grad()
        sum(loss(alone, inputs) / cluster.size for inputs in data).backward()
        serial.step()
        before = flat(wrong)
        ratio_first.zero_grad()
        loss(wrong, data[cluster.rank]).backward()
        ratio_first.step()  # a ratio from one rank's gradient, averaged after the step
        average = hvd.allreduce(flat(wrong) - before, name=f"wrong {kind.__name__}") + before
        torch.nn.utils.vector_to_parameters(average, wrong.parameters())
        horovods.zero_grad()
        loss(together, data[cluster.rank]).backward()
        horovods.step()

    assert torch.allclose(flat(together), flat(alone), rtol=1e-9, atol=0), (
        f"O12: Horovod's {kind.__name__} differs from one process"
    )
    moved = (flat(alone) - flat(network())).norm()
    assert (flat(wrong) - flat(alone)).norm() > 1e-2 * moved, "O12: the wrong order went unnoticed"

    fresh = network()
    wrapped = hvd.DistributedOptimizer(
        kind(fresh.parameters(), lr=4 * rate, weight_decay=1e-4),
        fresh.named_parameters(prefix=f"{kind.__name__} fresh"),
    )
    hvd.broadcast_parameters(fresh.state_dict(), root_rank=0)
    before = flat(fresh)
    hvd.broadcast_optimizer_state(wrapped, root_rank=0)
    assert torch.equal(flat(fresh), before), "O13: broadcasting the state moved the weights"
cluster.stop()
print(f"rank {cluster.rank}: oracles hold")
