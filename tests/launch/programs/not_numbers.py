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
for culprit in range(cluster.size):  # a few numbers travel by MPI where there is one
    bad = cluster.rank == culprit
    mine = torch.tensor([0.1 * (1 + cluster.rank), math.nan if bad else 1.0, -math.inf if bad else 1.0, 2.0**60])
    sums = cluster.add_up(mine.double(), f"few-{culprit}")()
    assert sums[0] == sum(float(torch.tensor(0.1 * (1 + rank))) for rank in range(cluster.size)), sums
    assert math.isnan(sums[1]), sums
    assert sums[2:] == [-math.inf, cluster.size * 2.0**60], sums
    assert len({str(found) for found in cluster.gather(sums)}) == 1  # to the bit
print("agreed")
cluster.stop()
