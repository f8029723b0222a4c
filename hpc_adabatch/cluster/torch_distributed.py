"""torch.distributed behind the cluster interface, for where Horovod cannot be had.

How torch 2.13 with Gloo behaves, and what is done about it here:

    reads a view as if it had no strides                     contiguous copies travel
    matches calls by their order, never by name              callers send in one order (training/buckets.py)
    waits 30 minutes for a rank that is frozen               the watchdog's limit is shorter, and its line says where
    a rank that is gone is a RuntimeError on all others      one line (``lost_a_rank``)
    wants one address and one port before anything           MPI tells it, or the launcher's variables do (meeting.py)
    torchrun that is killed leaves its ranks running         each looks for its parent, and ends when that is gone
    its thread drops the last tensor when Python has ended,  a script that leaves without a word waits a moment for it
      and aborts the process (in one of six, without stop())   before Python ends (``_let_go``)
    torch.distributed.nn keeps the group that it finds       it is imported first: an optimizer does that later, and the
      when it is imported, and with it Gloo's threads          process would end while these threads are there
"""

from __future__ import annotations

import atexit
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch

from ..environment import Launch
from ..errors import complain
from .launched import LaunchedCluster
from .meeting import meet
from .watchdog import EXIT_CODE

LOOK_EVERY_S, LET_GO_S = 1.0, 0.2
LIMIT = timedelta(days=30)  # of a collective: the watchdog's is shorter, and its line says where
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "connection was closed")


class TorchCluster(LaunchedCluster):
    """The cluster of a process that torchrun, srun, mpirun or another launcher started, on torch's own collectives.

    Args:
        launch: This process's place among the ranks, as the launcher says it.

    Raises:
        InputError: The ranks do not know where to meet.
    """

    engine = "torch"

    def __init__(self, launch: Launch) -> None:
        import torch.distributed as dist
        import torch.distributed.nn.functional

        super().__init__(launch)
        self._dist = dist
        gpus = torch.cuda.is_available() and dist.is_nccl_available()
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=meet(launch, self._road),
            rank=self.rank,
            world_size=self.size,
            timeout=LIMIT,
        )
        # of their own: else objects would travel through GPUs
        self._objects = dist.new_group(backend="gloo", timeout=LIMIT) if gpus else None
        hosts = self.gather(socket.gethostname())
        self.local_rank, self.local_size = hosts[: self.rank].count(hosts[self.rank]), hosts.count(hosts[self.rank])
        self.n_nodes = len(set(hosts))
        self._begin()
        atexit.register(_let_go)
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

    def gather(self, item: Any) -> list[Any]:
        items: list[Any] = [None] * self.size
        with self.watchdog.waiting():
            self._dist.all_gather_object(items, item, group=self._objects)
        return items

    def barrier(self) -> None:
        with self.watchdog.waiting():
            self._dist.barrier(group=self._objects)

    def _leave(self) -> None:
        self._dist.destroy_process_group()
        atexit.unregister(_let_go)

    def lost_a_rank(self, error: BaseException) -> bool:
        return isinstance(error, RuntimeError) and any(words in str(error) for words in LOST)

    def _end_with_parent(self, parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        complain(f"adabatch: rank {self.rank}: {self.launcher} is gone; ends with {EXIT_CODE}")
        os._exit(EXIT_CODE)


def _let_go() -> None:
    """Waits, without Python's lock, until Gloo's threads have dropped the tensors that they have summed."""
    time.sleep(LET_GO_S)


def joined(group: Any = None) -> int:
    """Returns the ranks of a process group, or of the one that a script has started itself; 1 without any."""
    import torch.distributed as dist

    return dist.get_world_size(group) if dist.is_available() and dist.is_initialized() else 1


def add(tensor: torch.Tensor, group: Any) -> Callable[[], object]:
    """Sums a tensor over the ranks of a script's own process group in place, and returns how to wait for that."""
    import torch.distributed as dist

    work = dist.all_reduce(tensor, group=group, async_op=True)
    wait: Callable[[], object] = work.wait
    return wait
