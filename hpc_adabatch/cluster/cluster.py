"""The ranks of a run, as everything else sees them.

formulas, policies, loops  ->  Cluster  <-  SingleProcess    (not launched)
                                        <-  LaunchedCluster  <-  HorovodCluster  (mpirun, horovodrun, srun)
                                                             <-  TorchCluster    (torchrun, srun, mpirun)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch

from ..errors import OneLineError
from .watchdog import Watchdog


class Cluster(ABC):
    """The ranks that train together.

    Attributes:
        rank: The number of this process among all; rank 0 decides, prints and writes.
        size: The number of ranks.
        local_rank: The number of this process within its node.
        local_size: The number of ranks on this node.
        n_nodes: The number of nodes.
        launcher: The program that started the ranks, for the journal; ``none`` for a single process.
        engine: The library that sums over ranks, ``horovod`` or ``torch``; ``none`` for a single process.
        device: The GPU of this rank, or the CPU.
        watchdog: The watchdog of this rank, which ends it where several ranks train and nothing moves any more. Tell it
            what a script does for long between steps: ``cluster.watchdog.enter("evaluation")``.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    n_nodes: int
    launcher: str
    engine: str
    device: torch.device
    watchdog: Watchdog

    start: ClassVar[Callable[..., Cluster]]  # the interface knows neither of its classes: start.py puts it here

    @property
    def leads(self) -> bool:
        """Reports whether this is rank 0, the one that decides, prints and writes."""
        return self.rank == 0

    @abstractmethod
    def allreduce_async_(self, tensor: torch.Tensor, name: str) -> Callable[[], torch.Tensor]:
        """Starts an in-place sum over all ranks; calling the result waits for the sum and returns the tensor."""

    def allreduce_(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """Sums the tensor over all ranks in place, and returns it."""
        summed = self.allreduce_async_(tensor, name)()
        self.watchdog.beat()
        return summed

    @abstractmethod
    def broadcast_(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """Replaces the tensor's values by those of rank 0 in place, and returns it."""

    @abstractmethod
    def announce(self, numbers: list[float]) -> list[float]:
        """Returns rank 0's numbers on every rank, with the least delay there is.

        Args:
            numbers: Float64 numbers, equally many on every rank.
        """

    @abstractmethod
    def gather(self, item: Any) -> list[Any]:
        """Returns the items of all ranks, in the order of the ranks, on every rank.

        Args:
            item: This rank's item; any picklable object, of any size.
        """

    def tell(self, item: Any) -> Any:
        """Returns rank 0's item, a picklable object, on every rank."""
        return self.gather(item if self.leads else None)[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raises a OneLineError of one rank on all ranks, so that none goes on alone and none waits."""
        found: OneLineError | None = None
        try:
            yield
        except OneLineError as error:
            found = error
        for anyone in self.gather(found):
            if anyone is not None:
                anyone.shared = True
                raise anyone

    @abstractmethod
    def barrier(self) -> None:
        """Waits until every rank has called it."""

    @abstractmethod
    def abort(self, code: int) -> None:
        """Ends this rank at once with the exit code, and all others where the launcher allows it."""

    @abstractmethod
    def lost_a_rank(self, error: BaseException) -> bool:
        """Reports whether an exception of this rank only says that another one is gone."""

    @abstractmethod
    def stop(self) -> None:
        """Waits for all ranks, then leaves them, and ends the watch."""
