"""torch.distributed behind the cluster interface, for where Horovod cannot be had.

How torch 2.13 with Gloo behaves, and what is done about it here:

    reads a view as if it had no strides                     contiguous copies travel
    matches calls by their order, never by name              callers send in one order (training/buckets.py)
    waits 30 minutes for a rank that is frozen               the watchdog's limit is shorter, and its line says where
    a rank that is gone is a RuntimeError on all others      one line (``lost_a_rank``)
    wants one address and one port before anything           MPI tells it, or the launcher's variables do (meeting.py)
    torchrun that is killed leaves its ranks running         each looks for its parent, and ends when that is gone
"""

from __future__ import annotations

import math
import os
import socket
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch

from ..environment import Launch, stall_limit_s, stop_file
from ..errors import complain
from . import heartbeat
from .cluster import Cluster
from .device import pin
from .meeting import meet
from .mpi import own_mpi, world
from .watchdog import EXIT_CODE, PREPARING_S, Watchdog

LOOK_EVERY_S = 1.0
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "connection was closed")


class TorchCluster(Cluster):
    """The cluster of a process that torchrun, srun, mpirun or another launcher started, on torch's own collectives.

    Args:
        launch: This process's place among the ranks, as the launcher says it.

    Raises:
        InputError: The ranks do not know where to meet.
    """

    engine = "torch"

    def __init__(self, launch: Launch) -> None:
        import torch.distributed as dist

        self._dist = dist
        limit_s = stall_limit_s()
        self._mpi = own_mpi() if launch.has_mpi else None
        self._road = world(self._mpi, launch.n_ranks)
        self.rank, self.size, self.launcher = launch.rank, launch.n_ranks, launch.launcher
        alone = self.size == 1 and limit_s is None  # no other rank can be lost
        self.watchdog = Watchdog(self.rank, math.inf if alone else limit_s, note=stop_file())
        gpus = torch.cuda.is_available() and dist.is_nccl_available()
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=meet(launch, self._road),
            rank=self.rank,
            world_size=self.size,
            timeout=timedelta(seconds=2 * max(PREPARING_S, limit_s or 0.0)) if limit_s != math.inf else None,
        )
        self._objects = dist.new_group(backend="gloo") if gpus else None  # else objects would travel through GPUs
        hosts = self.gather(socket.gethostname())
        self.local_rank, self.local_size = hosts[: self.rank].count(hosts[self.rank]), hosts.count(hosts[self.rank])
        self.n_nodes = len(set(hosts))
        self.device = pin(self.local_rank, self.gather)
        silent_s = min(heartbeat.SILENT_S, limit_s or math.inf)
        self._heartbeat = heartbeat.Heartbeat(self.rank, self.watchdog, silent_s)
        if self.size > 1 and limit_s != math.inf:
            self._heartbeat.start(self.gather)
        if launch.launcher == "torchrun":
            threading.Thread(target=self._end_with_parent, args=(os.getppid(),), name="parent", daemon=True).start()

    def allreduce_async_(self, tensor: torch.Tensor, name: str) -> Callable[[], torch.Tensor]:
        dense = tensor.contiguous()
        work = self._dist.all_reduce(dense, async_op=True)

        def wait() -> torch.Tensor:
            with self.watchdog.waiting():
                work.wait()
            return tensor if dense is tensor else tensor.copy_(dense)

        return wait

    def broadcast_(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        dense = tensor.detach().contiguous()
        with self.watchdog.waiting():
            self._dist.broadcast(dense, src=0)
        with torch.no_grad():
            return tensor if dense.data_ptr() == tensor.data_ptr() else tensor.copy_(dense)

    def announce(self, numbers: list[float]) -> list[float]:
        message = torch.tensor(numbers, dtype=torch.float64)
        with self.watchdog.waiting():
            if self._road is not None:
                return self._road.bcast(numbers)
            self._dist.broadcast(message, src=0, group=self._objects)
        return message.tolist()

    def gather(self, item: Any) -> list[Any]:
        items: list[Any] = [None] * self.size
        with self.watchdog.waiting():
            self._dist.all_gather_object(items, item, group=self._objects)
        return items

    def barrier(self) -> None:
        with self.watchdog.waiting():
            self._dist.barrier(group=self._objects)

    def abort(self, code: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        if self._mpi is not None and self._road is not None:
            self._mpi.COMM_WORLD.Abort(code)
        os._exit(code)  # the launcher sees the exit and ends the others, or they see the connection closed

    def stop(self) -> None:
        self.watchdog.enter("the end, where all ranks meet")
        self.barrier()
        self._heartbeat.stop()
        self._dist.destroy_process_group()
        self.watchdog.stop()

    def lost_a_rank(self, error: BaseException) -> bool:
        return isinstance(error, RuntimeError) and any(words in str(error) for words in LOST)

    def _end_with_parent(self, parent: int) -> None:
        while not threading.Event().wait(LOOK_EVERY_S):
            if os.getppid() != parent:
                complain(f"adabatch: rank {self.rank}: {self.launcher} is gone; ends with {EXIT_CODE}")
                os._exit(EXIT_CODE)
