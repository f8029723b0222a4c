"""One process, with the interface of many."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import torch

from ..environment import stall_limit_s
from .cluster import Cluster
from .watchdog import Watchdog


class SingleProcess(Cluster):
    """The cluster of a program that no launcher started: the sum over all ranks is the process's own number.

    Args:
        device: The device to train on.
    """

    rank = local_rank = 0
    size = local_size = n_nodes = 1
    launcher = engine = "none"

    def __init__(self, device: torch.device = torch.device("cpu")) -> None:  # noqa: B008 (it cannot be changed)
        self.device = device
        limit_s = stall_limit_s()
        self.watchdog = Watchdog(0, math.inf if limit_s is None else limit_s)  # no other rank can be lost

    def allreduce_async_(self, tensor: torch.Tensor, name: str) -> Callable[[], torch.Tensor]:
        return lambda: tensor

    def broadcast_(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        return tensor

    def announce(self, numbers: list[float]) -> list[float]:
        return numbers

    def gather(self, item: Any) -> list[Any]:
        return [item]

    def barrier(self) -> None:
        pass

    def abort(self, code: int) -> None:
        sys.exit(code)

    def lost_a_rank(self, error: BaseException) -> bool:
        return False

    def stop(self) -> None:
        self.watchdog.stop()
