"""Joining the other ranks: Horovod when a launcher started this process, one process when not."""

from __future__ import annotations

from ..environment import launch, ranks_wanted
from ..errors import require
from .cluster import Cluster
from .device import pin
from .horovod import HorovodCluster
from .single import SingleProcess


def start() -> Cluster:
    """Joins the other ranks when a launcher started this process, else stands alone; sets threads and GPU.

    Without a GPU, denormal numbers count as 0 from then on in the whole process: a CPU computes with them many times
    slower.

    Raises:
        InputError: Horovod does not load, or fewer ranks joined than were started.
    """
    found = launch()
    cluster: Cluster = SingleProcess(pin()) if found is None else HorovodCluster(found)
    wanted = ranks_wanted()
    require(
        wanted is None or wanted == cluster.size,
        "ranks",
        f"{cluster.size} joined of {wanted} that launch/run started",
        "all of them",
        "MPI_TYPE=pmix (srun --mpi=list shows what there is), or ADABATCH_LAUNCHER=mpirun",
    )
    return cluster


Cluster.start = staticmethod(start)
