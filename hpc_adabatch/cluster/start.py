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
    found, wanted = launch(), engine if engine not in (None, "auto") else engine_wanted()
    require(wanted in ENGINES, "engine", wanted, ", ".join(ENGINES), "--engine torch")
    cluster = SingleProcess(pin()) if found is None else _join(found, wanted)
    ranks = ranks_wanted()
    require(
        ranks is None or ranks == cluster.size,
        "ranks",
        f"{cluster.size} joined of {ranks} that launch/run started",
        "all of them",
        "MPI_TYPE=pmix (srun --mpi=list shows what there is), or ADABATCH_LAUNCHER=mpirun",
    )
    return cluster


def _join(found: Launch, wanted: str) -> Cluster:
    knows = found.has_mpi or found.launcher == "horovodrun --gloo"
    if wanted == "horovod" or (wanted == "auto" and knows and find_spec("horovod") is not None):
        allowed = f"a launcher that it knows, not {found.launcher}"
        require(knows, "engine", "horovod", allowed, "--engine torch, or mpirun, horovodrun, srun --mpi=pmix")
        from .horovod import HorovodCluster

        return HorovodCluster(found)
    allowed = "horovod, which this launcher starts"
    require(found.launcher != "horovodrun --gloo", "engine", "torch", allowed, "torchrun, mpirun or srun")
    from .torch_distributed import TorchCluster

    return TorchCluster(found)


Cluster.start = staticmethod(start)
