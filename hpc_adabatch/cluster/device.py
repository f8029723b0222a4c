"""The GPU and the threads of a rank."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from ..environment import threads_wanted


def cores() -> frozenset[int]:
    """Returns the cores that this process may run on; a launcher that binds gives each rank its own."""
    return frozenset(os.sched_getaffinity(0))


def ranks_on_my_cores(gather: Callable[[Any], list[Any]]) -> int:
    """Returns the number of ranks, this one among them, that may run on exactly this rank's cores of this node.

    Args:
        gather: Returns the items of all ranks, as ``Cluster.gather`` does.
    """
    mine = (os.uname().nodename, cores())
    return gather(mine).count(mine)


def pin(local_rank: int = 0, gather: Callable[[Any], list[Any]] = lambda item: [item]) -> torch.device:
    """Gives this rank its GPU, or its fair part of the cores that it shares with other ranks of its node.

    Without a GPU, denormal numbers count as 0 from then on in the whole process: gradients that vanish or weights that
    run away would make the same steps many times slower.

    Args:
        local_rank: The number of this rank within its node.
        gather: Returns the items of all ranks, as ``Cluster.gather`` does; one process alone when not given.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
        return torch.device("cuda", torch.cuda.current_device())
    torch.set_flush_denormal(True)
    threads = threads_wanted()
    torch.set_num_threads(max(1, len(cores()) // ranks_on_my_cores(gather)) if threads is None else threads)
    return torch.device("cpu")
