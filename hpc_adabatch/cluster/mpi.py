"""MPI beside the engine that sums gradients: the quickest road for a few numbers.

mpi4py is imported before Horovod starts, so that it owns MPI and Horovod's end leaves MPI alone. Decisions have a
communicator of their own, so that none is taken for a message of Horovod's.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from ..errors import InputError


class Road:
    """A communicator of all ranks.

    Args:
        communicator: The one of mpi4py, which nothing else uses.
    """

    def __init__(self, communicator: Any) -> None:
        self._communicator = communicator

    def bcast(self, numbers: list[float]) -> list[float]:
        """Returns rank 0's float64 numbers on every rank; equally many are given on each."""
        message = np.array(numbers, dtype=np.float64)
        self._communicator.Bcast(message, root=0)
        return message.tolist()

    def tell(self, item: Any) -> Any:
        """Returns rank 0's item, a picklable object, on every rank."""
        return self._communicator.bcast(item, root=0)


def own_mpi() -> Any:
    """Returns mpi4py's MPI; None without mpi4py, or without an MPI that it can load.

    Raises:
        InputError: MPI has started without the threads that Horovod needs.
    """
    with contextlib.suppress(ImportError, RuntimeError):
        from mpi4py import MPI

        if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
            raise InputError("MPI threads", MPI.Query_thread(), "THREAD_MULTIPLE, which Horovod's thread needs", "")
        return MPI
    return None


def on_all(true: bool, n_ranks: int) -> bool:
    """Returns whether it is true on every rank; where MPI does not know them all, whether it is on this one."""
    mpi = own_mpi()
    if mpi is None or mpi.COMM_WORLD.Get_size() != n_ranks:
        return true
    return mpi.COMM_WORLD.allreduce(int(true)) == n_ranks


def world(mpi: Any, n_ranks: int) -> Road | None:
    """Returns a road to all ranks; None where MPI does not know them all."""
    if mpi is None or mpi.COMM_WORLD.Get_size() != n_ranks:
        return None
    return Road(mpi.COMM_WORLD.Dup())
