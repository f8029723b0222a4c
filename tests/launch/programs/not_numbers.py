"""What is not a number on one rank is none on all, whichever rank it is; sums are right in every precision."""

import math

import torch

import hpc_adabatch as hab

cluster = hab.Cluster.start()
for kind in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
    for culprit in range(cluster.size):
        mine = torch.tensor([1.5 + cluster.rank, 1.0, -2.0], dtype=kind)
        if cluster.rank == culprit:
            mine[1] = math.nan
            mine[2] = -math.inf
        try:
            total = cluster.allreduce_(mine, f"{kind}-{culprit}")
        except ValueError:
            assert kind is torch.bfloat16, kind  # by Horovod 0.28.1
            break
        expected = sum(1.5 + rank for rank in range(cluster.size))  # few digits: exact in every precision
        assert total[0] == expected, (kind, total)
        assert total[1].isnan(), (kind, total)
        assert total[2] == -math.inf, (kind, total)
for number in (math.nan, math.inf, -math.inf):
    told = cluster.announce([number if cluster.leads else 0.0])
    assert told == [number] or (math.isnan(number) and math.isnan(told[0]))
print("agreed")
cluster.stop()
