"""Horovod behind the cluster interface: the only import of horovod.

How Horovod 0.28.1 behaves, and what is done about it here:

    joins small messages as they happen to be ready, so       no fusion: gradients come in buckets already, and a sum of
      that the order of a sum changes from run to run           three ranks is the same in every run
    broadcasting a fresh optimizer's state takes a real step  never done: states are equal at the start or by checkpoint
    shutdown() finalises MPI under whoever still uses it      mpi4py is imported first and owns MPI
    messages wait for the next cycle, of 1 ms                 cycles of 0.5 ms; and decisions travel by MPI itself, if
                                                                there is an MPI world. Sums of each step do not: who
                                                                waits in MPI slows Horovod's thread down, and steps of
                                                                4 ms on two cores took twice as long
    who waits gives the core away again and again             left as it is: on Linux 6.18 that costs milliseconds where
                                                                threads share a core, but a wait that sleeps instead
                                                                starved the whole machine
    knows neither all types nor layouts of tensors            broadcasts are of integers, sums of what is contiguous
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from ..environment import Launch, prepare_horovod
from ..errors import InputError, complain, require
from ..shipped import in_checkout
from .launched import LaunchedCluster

ABSENT = "is not installed"
BUILDS = "./launch/install" if in_checkout() else "./launch/install of a checkout"
WORDS = {1: torch.uint8, 2: torch.uint8, 4: torch.int32, 8: torch.int64}  # that stand for numbers of so many bytes


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
        require(hvd is not None, "horovod", why, "one built for this torch and MPI", f"{BUILDS} or --engine torch")
        early = joined()  # of a script's own hvd.init()
        if prepare_horovod() and early > 2 and self.rank == 0:
            given = "hvd.init() before Cluster.start(): Horovod joins messages"
            complain(f"adabatch: warning: {given}, and sums differ in their last bits from run to run; call it after")
        hvd.init()
        self._hvd = hvd
        if hvd.size() != launch.n_ranks:
            raise InputError(
                "ranks",
                f"{hvd.size()} joined of {launch.n_ranks} that {launch.launcher} started",
                "all of them",
                "srun --mpi=pmix (srun --mpi=list tells), the mpirun that Horovod was built with, or --engine torch",
            )
        self.rank = hvd.rank()
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        self.n_nodes = hvd.cross_size()
        self._begin()

    def allreduce_async_(self, tensor: torch.Tensor, name: str) -> Callable[[], torch.Tensor]:
        dense = tensor.contiguous()
        handle = self._hvd.allreduce_async_(dense, name=name, op=self._hvd.Sum)

        def wait() -> torch.Tensor:
            self._wait(handle)
            return tensor if dense is tensor else tensor.copy_(dense)

        return wait

    def broadcast_(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        if tensor.numel() == 0:
            return tensor
        dense = tensor.detach().contiguous()
        words = dense.view(-1).view(WORDS.get(dense.element_size(), torch.uint8))
        self._wait(self._hvd.broadcast_async_(words, root_rank=0, name=name))
        with torch.no_grad():
            return tensor if dense.data_ptr() == tensor.data_ptr() else tensor.copy_(dense)

    def gather(self, item: Any) -> list[Any]:
        with self.watchdog.waiting():
            return self._hvd.allgather_object(item, name="gather")

    def barrier(self) -> None:
        with self.watchdog.waiting():
            self._hvd.barrier()

    def lost_a_rank(self, error: BaseException) -> bool:
        return type(error).__name__ == "HorovodInternalError"

    def _wait(self, handle: int) -> None:
        with self.watchdog.waiting():
            self._hvd.synchronize(handle)

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


def joined() -> int:
    """Returns the ranks that a script has joined by ``hvd.init()`` itself; 1 where it has not."""
    hvd = sys.modules.get("horovod.torch")
    return hvd.size() if hvd is not None and hvd.is_initialized() else 1


def check_ranks(ranks: int) -> None:
    """Checks that Horovod, where it has been started, has joined all ranks of a cluster.

    It may have joined more: a cluster of one process stands beside it when ``measure`` times a rank alone.

    Args:
        ranks: The ranks of the cluster.

    Raises:
        InputError: It has not: torchrun does not tell a script's ``hvd.init()`` who the others are, and each rank is
            ``hvd.rank()`` 0.
    """
    hvd = sys.modules.get("horovod.torch")
    found = hvd.size() if hvd is not None and hvd.is_initialized() else ranks
    given = f"{found} rank(s) joined of {ranks}, each of which is hvd.rank() 0"
    example = "cluster.rank and cluster.size in place of hvd.rank() and hvd.size(); or horovodrun"
    require(found >= ranks, "hvd.init()", given, "all ranks that were started", example)


def averaging(optimizer: Any) -> tuple[int, bool, Callable[[torch.Tensor], Callable[[], object]]]:
    """Returns what a script's own ``hvd.DistributedOptimizer`` does.

    Args:
        optimizer: The optimizer.

    Returns:
        Its ranks; whether it averages their gradients, or else sums them; and the sum of a tensor over them, in place,
        which returns how to wait for that. It has come by then: after ``hvd.shutdown()`` nothing can be waited for.

    Raises:
        InputError: It does something else with them.
    """
    import horovod.torch as hvd

    op = getattr(optimizer, "op", None)
    require(op in (hvd.Average, hvd.Sum), "optimizer", "op=hvd.Adasum", "hvd.Average or hvd.Sum", "op=hvd.Average")
    ranks = optimizer.process_set

    def add(tensor: torch.Tensor) -> Callable[[], object]:
        hvd.allreduce_(tensor, name="noise_meter", op=hvd.Sum, process_set=ranks)
        return lambda: tensor

    return ranks.size(), op == hvd.Average, add


def is_busy(optimizer: Any) -> bool:
    """Reports whether gradients of a ``hvd.DistributedOptimizer`` have started and were not waited for."""
    return bool(getattr(optimizer, "_handles", ()))
