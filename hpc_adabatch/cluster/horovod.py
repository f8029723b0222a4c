"""Horovod behind the cluster interface: the only import of horovod.

How Horovod 0.28.1 behaves, and what is done about it here:

    joins small messages as they happen to be ready, so       no fusion: gradients come in buckets already, and a sum of
      that the order of a sum changes from run to run           three ranks is the same in every run
    broadcasting a fresh optimizer's state takes a real step  never done: states are equal at the start or by checkpoint
    shutdown() finalises MPI under whoever still uses it      mpi4py is imported first and owns MPI
    a broadcast waits for the next cycle (1 ms)               decisions travel by MPI itself, if there is an MPI world
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from ..environment import Launch, without_fusion
from ..errors import InputError, require
from .launched import LaunchedCluster

ABSENT = "is not installed"


class HorovodCluster(LaunchedCluster):
    """The cluster of a process that horovodrun, mpirun, srun or another launcher started.

    Args:
        launch: This process's place among the ranks, as the launcher says it.

    Raises:
        InputError: Horovod does not load; or fewer ranks joined than were started (a wrong ``srun --mpi`` does that).
    """

    engine = "horovod"

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        hvd, why = load()
        require(
            hvd is not None, "horovod", why, "one built for this torch and MPI", "./launch/install or --engine torch"
        )
        without_fusion()
        hvd.init()
        self._hvd = hvd
        if hvd.size() != launch.n_ranks:
            raise InputError(
                "ranks",
                f"{hvd.size()} joined of {launch.n_ranks} that {launch.launcher} started",
                "all of them",
                "srun --mpi=pmix (srun --mpi=list shows what there is) or the mpirun that Horovod was built with",
            )
        self.rank = hvd.rank()
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        self.n_nodes = hvd.cross_size()
        self._begin()

    def allreduce_async_(self, tensor: torch.Tensor, name: str) -> Callable[[], torch.Tensor]:
        handle = self._hvd.allreduce_async_(tensor, name=name, op=self._hvd.Sum)

        def wait() -> torch.Tensor:
            with self.watchdog.waiting():
                return self._hvd.synchronize(handle)

        return wait

    def broadcast_(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        with self.watchdog.waiting():
            return self._hvd.broadcast_(tensor, root_rank=0, name=name)

    def gather(self, item: Any) -> list[Any]:
        with self.watchdog.waiting():
            return self._hvd.allgather_object(item, name="gather")

    def barrier(self) -> None:
        with self.watchdog.waiting():
            self._hvd.barrier()

    def lost_a_rank(self, error: BaseException) -> bool:
        return type(error).__name__ == "HorovodInternalError"

    def _leave(self) -> None:
        self._hvd.shutdown()


def load() -> tuple[Any, str]:
    """Returns Horovod, imported but not started; or None, and in words why it does not load."""
    if find_spec("horovod") is None:
        return None, ABSENT
    try:
        import horovod.torch as hvd
    except Exception as error:  # built for another torch, MPI or Python, it may raise anything
        return None, f"does not load ({(str(error) or type(error).__name__).splitlines()[0]})"
    return hvd, ""


def build() -> dict[str, bool]:
    """Returns which of MPI, Gloo and NCCL Horovod was built with.

    Raises:
        ImportError: Horovod does not load.
    """
    hvd, why = load()
    if hvd is None:
        raise ImportError(why)
    return {"MPI": bool(hvd.mpi_built()), "Gloo": bool(hvd.gloo_built()), "NCCL": bool(hvd.nccl_built())}
