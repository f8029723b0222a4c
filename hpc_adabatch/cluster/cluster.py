"""The ranks of a run, as everything else sees them.

    formulas, policies, loops  ->  Cluster  <-  SingleProcess   (not launched)
                                            <-  HorovodCluster  (mpirun, horovodrun, srun)

Not here: horovod (horovod.py), launch variables (environment.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from ..errors import InputError, require


def apply(optimizer: torch.optim.Optimizer) -> object:
    """A plain step of the optimizer."""
    return optimizer.step()


class DistributedOptimizer(Protocol):
    """An optimizer whose gradients are summed over all ranks, in the order that Horovod can bear.

    expect(passes) -> backward x passes -> reduce() -> read or change the gradients -> step() -> zero_grad()
    """

    optimizer: torch.optim.Optimizer

    def expect(self, passes: int) -> None:
        """Before the first backward: how many there will be on this rank. The sum starts to travel during the last."""

    def reduce(self) -> None:
        """Waits until every ``p.grad`` is the sum over ranks. A rank without a backward pass contributes zeros."""

    def step(self, through: Callable[[torch.optim.Optimizer], object] = apply) -> None:
        """Applies the reduced gradients; ``through`` is called with the optimizer, as a GradScaler's step wants."""

    def zero_grad(self) -> None:
        """Forgets the gradients."""


class Cluster(ABC):
    """The ranks that train together.

    Attributes:
        rank, size: this process among all, and how many there are.
        local_rank, local_size: the same within this node.
        n_nodes: how many nodes the ranks stand on.
        launcher: what started the ranks, for the journal.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    n_nodes: int
    launcher: str

    @staticmethod
    def start() -> Cluster:
        """Joins the other ranks when a launcher started this process, else stands alone. Sets threads and GPU.

        Without a GPU denormal numbers count as 0 from then on in the whole process (device.py).

        Raises:
            InputError: Horovod does not load, or fewer ranks joined than were started.
        """
        from .device import pin
        from .environment import launch, ranks_wanted
        from .single import SingleProcess

        found = launch()
        if found is None:
            cluster: Cluster = SingleProcess()
        else:
            from .horovod import HorovodCluster

            cluster = HorovodCluster(found)
        wanted = ranks_wanted()
        require(
            wanted is None or wanted == cluster.size,
            "ranks",
            f"{cluster.size} joined of {wanted} that launch/run started",
            "all of them",
            "MPI_TYPE=pmix (srun --mpi=list shows what there is), or ADABATCH_LAUNCHER=mpirun",
        )
        cluster.device = pin(cluster)
        return cluster

    device: torch.device = torch.device("cpu")

    @property
    def leads(self) -> bool:
        """True on rank 0: the one that decides, prints and writes."""
        return self.rank == 0

    @abstractmethod
    def allreduce_async_(self, tensor: torch.Tensor, name: str) -> Callable[[], torch.Tensor]:
        """Starts an in-place sum over all ranks; calling the result waits for it and returns the tensor."""

    def allreduce_(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """In-place sum over all ranks."""
        return self.allreduce_async_(tensor, name)()

    @abstractmethod
    def broadcast_(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """Rank 0's values, in place, on every rank."""

    @abstractmethod
    def announce(self, numbers: list[float]) -> list[float]:
        """Rank 0's numbers (float64; as many on every rank) on every rank, by the quickest road there is."""

    @abstractmethod
    def gather(self, item: Any) -> list[Any]:
        """Every rank's item (picklable, any size), in rank order, on every rank."""

    @abstractmethod
    def distributed_optimizer(
        self,
        optimizer: torch.optim.Optimizer,
        named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
        compression: str = "none",
    ) -> DistributedOptimizer:
        """The optimizer, fed with gradients summed over ranks. Use the returned ``.optimizer`` from here on.

        Args:
            optimizer: of these parameters.
            named_parameters: the model's.
            compression: of the gradients on their way, ``none`` or ``fp16``.
        """

    @abstractmethod
    def barrier(self) -> None:
        """Returns when every rank has called it."""

    @abstractmethod
    def abort(self, code: int) -> None:
        """Ends all ranks at once with this exit code, where the launcher allows it; always ends this one."""

    @abstractmethod
    def stop(self) -> None:
        """Leaves the other ranks in good order, at the end of a run."""

    def tell(self, item: Any) -> Any:
        """Rank 0's item (picklable), on every rank."""
        return self.gather(item if self.leads else None)[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """What one rank finds wrong with the input, all ranks raise: no rank goes on alone and none waits."""
        found: InputError | None = None
        try:
            yield
        except InputError as error:
            found = error
        for anyone in self.gather(found):
            if anyone is not None:
                anyone.shared = True
                raise anyone
