"""MPI beside the engine that sums gradients: the quickest road for a few numbers.

mpi4py is imported before Horovod starts, so that it owns MPI and Horovod's end leaves MPI alone. Decisions have a
communicator of their own, so that none is taken for a message of Horovod's.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..environment import Launch
from ..errors import InputError

OLDER = {"s1", "s2", "cray"}  # of Open MPI's components for a PMI, those of PMI-1 and PMI-2
ASK = """
import mpi4py
mpi4py.rc.initialize = False
from mpi4py import MPI
print(MPI.Get_library_version().split(",")[0])
print({line.split()[-1] for line in open("/proc/self/maps") if "libopen-pal" in line})
"""


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


def refusal(launch: Launch) -> str:
    """Returns in words why MPI would end this process instead of starting; an empty text where nothing is known to.

    Open MPI that was built without the PMI of srun ends the process within MPI_Init, with twenty lines a rank. What it
    was built with is asked in a process of its own.
    """
    if not launch.by_older_pmi:
        return ""
    asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=False).stdout
    return _refusal(asked)


def _refusal(asked: str) -> str:
    found = re.match(r"Open MPI v(\d+)\S*", asked)
    if found is None:
        return ""
    library = re.search(r"'(/\S+)/libopen-pal", asked)
    folder = Path(library[1] if library is not None else "/nowhere")
    parts = "mca_pmix_*.so"  # the second place is Debian's
    files = [*folder.glob(f"openmpi*/{parts}"), *folder.glob(f"openmpi*/lib/openmpi*/{parts}")]
    kinds = {file.stem.removeprefix("mca_pmix_") for file in files}
    speaks = int(found[1]) < 5 and (not kinds or kinds & OLDER)
    return "" if speaks else f"{found[0]} does not speak the PMI-1 or PMI-2 by which srun started the ranks"


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
