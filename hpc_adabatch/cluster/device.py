"""The GPU and the threads of a rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..environment import threads_wanted
from .processors import share


def pin(local_rank: int = 0, gather: Callable[[Any], list[Any]] = lambda item: [item]) -> torch.device:
    """Gives this rank its GPU, or its fair part of the processors that it shares with other ranks of its node.

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
    torch.set_num_threads(share(gather).threads if threads is None else threads)
    return torch.device("cpu")
