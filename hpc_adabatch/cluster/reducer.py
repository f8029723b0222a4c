"""Who averages the gradients over ranks in a loop that is not ours.

    DistributedDataParallel           its process group; the mean over ranks is there when backward returns
    Horovod's DistributedOptimizer    its process set; the mean or sum is there after synchronize() or step()
    nobody                            one process, which has not joined others

Not here: the ranks of our own loop (cluster.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import require
from . import horovod, torch_distributed


@dataclass(frozen=True, kw_only=True)
class Reducer:
    """The average over ranks that a loop takes by itself, as far as one must know it to look on."""

    ranks: int = 1
    """The number of ranks."""
    divisor: int = 1
    """The number by which the sum of the ranks' gradients is divided."""
    add: Callable[[torch.Tensor], Callable[[], object]] = lambda tensor: lambda: tensor
    """The sum of a small tensor over the ranks, in place; it is there after a call of what is returned."""
    is_busy: Callable[[], bool] = lambda: False
    """The question whether gradients are still on their way."""


def reducer_of(model: nn.Module, optimizer: Any) -> Reducer:
    """Returns who averages the gradients of a network.

    Args:
        model: The network as the loop calls it.
        optimizer: The optimizer as the loop steps it; None where it is not Horovod's.

    Raises:
        InputError: This process has joined other ranks, and neither argument averages over them.
    """
    if isinstance(model, DistributedDataParallel):
        group = model.process_group
        ranks = torch_distributed.joined(group)
        return Reducer(ranks=ranks, divisor=ranks, add=lambda tensor: torch_distributed.add(tensor, group))
    if hasattr(optimizer, "skip_synchronize"):
        ranks, averages, add = horovod.averaging(optimizer)
        divisor = ranks if averages else 1
        return Reducer(ranks=ranks, divisor=divisor, add=add, is_busy=lambda: horovod.is_busy(optimizer))
    kind, ranks = type(model).__name__, torch_distributed.joined()
    allowed = "the DistributedDataParallel around it, whose ranks average"
    require(ranks == 1, "model", f"{kind}, in a process group of {ranks} ranks", allowed, "NoiseMeter(ddp)")
    ranks, allowed = horovod.joined(), "hvd.DistributedOptimizer, which averages over them"
    given = f"{type(optimizer).__name__}, on {ranks} ranks of Horovod"
    require(ranks == 1, "optimizer", given, allowed, "NoiseMeter(model, optimizer)")
    return Reducer()
