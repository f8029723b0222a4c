"""One rank of a job: sums 1, 2, ... over the ranks in a vector, and tells who was there and how long a sum takes.

python allreduce.py MEGABYTES FOLDER        writes FOLDER/rank<number>.json
"""

import json
import socket
import sys
import time
from pathlib import Path

import torch

from hpc_adabatch import Cluster

cluster = Cluster.start()
ones = torch.ones(int(float(sys.argv[1]) * 1e6 / 4))
times_s = []
for _ in range(4):
    total = ones * (cluster.rank + 1)
    cluster.barrier()
    begun = time.perf_counter()
    cluster.allreduce_(total, "total")
    times_s.append(time.perf_counter() - begun)
found = {
    "rank": cluster.rank,
    "ranks": cluster.size,
    "host": socket.gethostname(),
    "sum": total.unique().tolist(),
    "time_s": min(times_s),
}
Path(sys.argv[2], f"rank{cluster.rank}.json").write_text(json.dumps(found), encoding="utf-8")
cluster.stop()
