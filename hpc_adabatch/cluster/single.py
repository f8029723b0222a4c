"""One process, with the interface of many.

Not here: several ranks (horovod.py).
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch

from .cluster import Cluster, DistributedOptimizer, apply


class SingleProcess(Cluster):
    """The cluster of a program that nobody launched: every sum is its own."""

    rank = local_rank = 0
    size = local_size = n_nodes = 1
    launcher = "none"

    def allreduce_async_(self, tensor: torch.Tensor, name: str) -> Callable[[], torch.Tensor]:
        return lambda: tensor

    def broadcast_(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        return tensor

    def announce(self, numbers: list[float]) -> list[float]:
        return numbers

    def gather(self, item: Any) -> list[Any]:
        return [item]

    def distributed_optimizer(
        self,
        optimizer: torch.optim.Optimizer,
        named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
        compression: str = "none",
    ) -> DistributedOptimizer:
        return LocalOptimizer(optimizer)

    def barrier(self) -> None:
        pass

    def abort(self, code: int) -> None:
        sys.exit(code)

    def stop(self) -> None:
        pass


class LocalOptimizer:
    """An optimizer whose gradients are already the sum over all ranks, there being one."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def expect(self, passes: int) -> None:
        pass

    def reduce(self) -> None:
        # a parameter that no pass reached has the gradient zero, as with Horovod
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None and parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter)

    def step(self, through: Callable[[torch.optim.Optimizer], object] = apply) -> None:
        through(self.optimizer)

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()
