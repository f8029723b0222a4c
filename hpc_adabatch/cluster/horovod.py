"""Horovod behind the cluster interface: the only import of horovod.

How Horovod 0.28.1 behaves, and what is done about it here:

    joins small messages as they happen to be ready, so       no fusion: gradients come in buckets already, and a sum of
      that the order of a sum changes from run to run           three ranks is the same in every run
    broadcasting a fresh optimizer's state takes a real step  never done: states are equal at the start or by checkpoint
    shutdown() finalises MPI under whoever still uses it      mpi4py is imported first and owns MPI
    a broadcast waits for the next cycle (1 ms)               decisions travel by MPI itself, if there is an MPI world
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from typing import Any

import torch

from ..environment import Launch, stall_limit_s, stop_file, without_fusion
from ..errors import InputError
from . import heartbeat
from .cluster import Cluster
from .device import pin
from .mpi import own_mpi, world
from .watchdog import Watchdog


class HorovodCluster(Cluster):
    """The cluster of a process that horovodrun, mpirun, srun or another launcher started.

    Args:
        launch: This process's place among the ranks, as the launcher says it.

    Raises:
        InputError: Horovod does not load; or fewer ranks joined than were started (a wrong ``srun --mpi`` does that).
    """

    engine = "horovod"

    def __init__(self, launch: Launch) -> None:
        limit_s = stall_limit_s()
        self._mpi = own_mpi() if launch.has_mpi else None
        try:
            import horovod.torch as hvd
        except ImportError as error:
            given = f"does not load ({str(error).splitlines()[0]})"
            raise InputError("horovod", given, "one built for this torch and MPI", "./launch/install") from error
        without_fusion()
        hvd.init()
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        self.n_nodes = hvd.cross_size()
        self.launcher = launch.launcher
        alone = self.size == 1 and limit_s is None  # no other rank can be lost
        self.watchdog = Watchdog(self.rank, math.inf if alone else limit_s, note=stop_file())
        if self.size != launch.n_ranks:
            raise InputError(
                "ranks",
                f"{self.size} joined of {launch.n_ranks} that {launch.launcher} started",
                "all of them",
                "srun --mpi=pmix (srun --mpi=list shows what there is) or the mpirun that Horovod was built with",
            )
        self._road = world(self._mpi, self.size)
        self.device = pin(self.local_rank, self.gather)
        silent_s = min(heartbeat.SILENT_S, limit_s or math.inf)
        self._heartbeat = heartbeat.Heartbeat(self.rank, self.watchdog, silent_s)
        if self.size > 1 and limit_s != math.inf:
            self._heartbeat.start(self.gather)

    def allreduce_async_(self, tensor: torch.Tensor, name: str) -> Callable[[], torch.Tensor]:
        handle = self._hvd.allreduce_async_(tensor, name=name, op=self._hvd.Sum)

        def wait() -> torch.Tensor:
            with self.watchdog.waiting():
                return self._hvd.synchronize(handle)

        return wait

    def broadcast_(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        with self.watchdog.waiting():
            return self._hvd.broadcast_(tensor, root_rank=0, name=name)

    def announce(self, numbers: list[float]) -> list[float]:
        if self._road is None:  # with Gloo there is no MPI
            return self.broadcast_(torch.tensor(numbers, dtype=torch.float64), "announcement").tolist()
        with self.watchdog.waiting():
            return self._road.bcast(numbers)

    def gather(self, item: Any) -> list[Any]:
        with self.watchdog.waiting():
            return self._hvd.allgather_object(item, name="gather")

    def barrier(self) -> None:
        with self.watchdog.waiting():
            self._hvd.barrier()

    def abort(self, code: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        if self._mpi is not None:
            self._mpi.COMM_WORLD.Abort(code)
        os._exit(code)  # with Gloo, horovodrun sees the exit and ends the others

    def lost_a_rank(self, error: BaseException) -> bool:
        return type(error).__name__ == "HorovodInternalError"

    def stop(self) -> None:
        self.watchdog.enter("the end, where all ranks meet")
        self.barrier()
        self._heartbeat.stop()
        self._hvd.shutdown()
        self.watchdog.stop()


def build() -> dict[str, bool]:
    """Returns which of MPI, Gloo and NCCL Horovod was built with.

    Raises:
        ImportError: Horovod does not load.
    """
    import horovod.torch as hvd

    return {"MPI": bool(hvd.mpi_built()), "Gloo": bool(hvd.gloo_built()), "NCCL": bool(hvd.nccl_built())}
