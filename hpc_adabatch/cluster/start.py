"""Joining the other ranks: Horovod or torch.distributed when a launcher started this process, one process when not.

engine       who sums                       auto takes it
horovod      Horovod over NCCL, MPI, Gloo   where it is installed, and the launcher is one that it knows
torch        torch.distributed over the     else: under torchrun, under srun --mpi=none, without Horovod
             same, without a build
"""

from __future__ import annotations

from importlib.util import find_spec

from ..environment import Launch, launch, ranks_wanted
from ..environment import engine as engine_wanted
from ..errors import require
from .cluster import Cluster
from .device import pin
from .single import SingleProcess

ENGINES = ("auto", "horovod", "torch")


def start(engine: str | None = None) -> Cluster:
    """Joins the other ranks when a launcher started this process, else stands alone; sets threads and GPU.

    Without a GPU, denormal numbers count as 0 from then on in the whole process: a CPU computes with them many times
    slower.

    Args:
        engine: ``horovod`` or ``torch``, the library that sums over ranks; ``auto`` for the one that fits;
            ADABATCH_ENGINE when not given.

    Raises:
        InputError: The engine does not load, or fewer ranks joined than were started.
    """
    found, chosen = launch(), engine_of(launch(), engine)
    cluster = SingleProcess(pin()) if found is None else _join(found, chosen)
    ranks = ranks_wanted()
    require(
        ranks is None or ranks == cluster.size,
        "ranks",
        f"{cluster.size} joined of {ranks} that launch/run started",
        "all of them",
        "MPI_TYPE=pmix (srun --mpi=list shows what there is), or ADABATCH_LAUNCHER=mpirun",
    )
    return cluster


def engine_of(found: Launch | None, engine: str | None = None) -> str:
    """Returns the library that sums over the ranks of a launch: horovod or torch.

    Args:
        found: The launch; None for one by mpirun that is still to come.
        engine: The engine asked for, as in ``start``.

    Raises:
        InputError: There is no such engine.
    """
    wanted = engine if engine not in (None, "auto") else engine_wanted()
    require(wanted in ENGINES, "engine", wanted, ", ".join(ENGINES), "--engine torch")
    if wanted != "auto":
        return wanted
    return "horovod" if _horovod_knows(found) and find_spec("horovod") is not None else "torch"


def _horovod_knows(found: Launch | None) -> bool:
    return found is None or found.has_mpi or found.launcher == "horovodrun --gloo"


def _join(found: Launch, engine: str) -> Cluster:
    if engine == "horovod":
        allowed = f"a launcher that it knows, not {found.launcher}"
        hint = "--engine torch, or mpirun, horovodrun, srun --mpi=pmix"
        require(_horovod_knows(found), "engine", engine, allowed, hint)
        from .horovod import HorovodCluster

        return HorovodCluster(found)
    allowed = "horovod, which this launcher starts"
    require(found.launcher != "horovodrun --gloo", "engine", engine, allowed, "torchrun, mpirun or srun")
    from .torch_distributed import TorchCluster

    return TorchCluster(found)


Cluster.start = staticmethod(start)
