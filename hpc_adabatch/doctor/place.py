"""Launcher, engine, PMI, MPI, ranks a node."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Sequence

from .. import environment
from ..cluster import Cluster
from .check import Check

MOST_NAMES = 8  # of nodes, in one line


def place(cluster: Cluster, engine: str) -> Iterator[Check]:
    """Yields who started the ranks, how they reach each other, and where they are; called on all ranks.

    Args:
        cluster: The ranks.
        engine: The engine that sums over ranks, or would in a launch: horovod or torch.
    """
    alone = cluster.launcher == "none"
    yield Check("launched by", "nothing: one process" if alone else cluster.launcher)
    name = {"horovod": "Horovod", "torch": "torch.distributed"}[engine]
    yield Check("engine", f"none; under mpirun or srun it would be {name}" if alone else name)
    yield Check("PMI", environment.pmi() or "none that this process was given")
    yield _mpi(cluster, engine)
    yield Check("ranks", ranks_in_words(cluster.gather(platform.node())))


def ranks_in_words(hosts: Sequence[str]) -> str:
    """Returns how many ranks there are on which nodes.

    Args:
        hosts: The name of each rank's node, in the order of the ranks.
    """
    counts = Counter(hosts)
    if len(counts) == 1:
        return f"{len(hosts)} on 1 node: {hosts[0]}"
    on = f"{len(hosts)} on {len(counts)} nodes"
    if len(set(counts.values())) == 1:
        each, names = f"{next(iter(counts.values()))} on each", list(counts)
    else:
        each, names = "not equally many on each", [f"{host} x {ranks}" for host, ranks in counts.items()]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{on}, {each}: {', '.join(names[:MOST_NAMES])}{more}"


def _mpi(cluster: Cluster, engine: str) -> Check:
    try:
        import mpi4py

        mpi4py.rc.initialize = False  # ranks that were launched have started MPI already; here only its name is read
        from mpi4py import MPI

        name = MPI.Get_library_version().split(",")[0].split("\n")[0].strip("\0 ")
        reached = MPI.COMM_WORLD.Get_size() if MPI.Is_initialized() and not MPI.Is_finalized() else None
    except (ImportError, RuntimeError) as error:
        if engine == "horovod":
            mend = "module load openmpi, or apt-get install libopenmpi-dev"
            return Check("MPI", str(error).splitlines()[0], mend)
        return Check("MPI", "none that mpi4py loads; torch.distributed needs none")
    if reached is None:
        return Check("MPI", f"{name}, which this launch does not use")
    return Check("MPI", f"{name}, reaches {reached} of {cluster.size} rank(s)")
