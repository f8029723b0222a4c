"""The GPU and the threads of this rank.

Not here: which rank this is (cluster.py).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from .environment import threads_wanted

if TYPE_CHECKING:
    from .cluster import Cluster


def cores() -> frozenset[int]:
    """The cores this process may run on: a launcher that binds gives each rank its own."""
    return frozenset(os.sched_getaffinity(0))


def pin(cluster: Cluster) -> torch.device:
    """Gives this rank its GPU, or its fair part of the cores it shares with other ranks of this node.

    Without a GPU denormal numbers count as 0 from then on: gradients that vanish or weights that run away would make
    the same steps many times slower.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(cluster.local_rank % torch.cuda.device_count())
        return torch.device("cuda", torch.cuda.current_device())
    torch.set_flush_denormal(True)  # a CPU computes with denormal numbers many times slower, and they mean 0 here
    threads = threads_wanted()
    if threads is None:
        mine = cores()
        sharing = sum(theirs == (os.uname().nodename, mine) for theirs in cluster.gather((os.uname().nodename, mine)))
        threads = max(1, len(mine) // sharing)
    torch.set_num_threads(threads)
    return torch.device("cpu")
