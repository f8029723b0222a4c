"""Joining the other ranks: Horovod or torch.distributed when a launcher started this process, one process when not.

engine       who sums                       auto takes it
horovod      Horovod over NCCL, MPI, Gloo   where it loads on every rank, and the launcher is one that it knows
torch        torch.distributed over the     else: under torchrun, under srun --mpi=none, without Horovod; a line says
             same, without a build          where there is one that does not load
"""

from __future__ import annotations

from dataclasses import replace

from ..environment import Launch, launch, ranks_wanted
from ..environment import engine as engine_wanted
from ..errors import complain, require
from . import horovod
from .cluster import Cluster
from .device import pin
from .mpi import on_all, refusal
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
    found, wanted = known_launch(), _wanted(engine)
    cluster = SingleProcess(pin()) if found is None else _join(found, wanted)
    ranks = ranks_wanted()
    require(
        ranks is None or ranks == cluster.size,
        "ranks",
        f"{cluster.size} joined of {ranks} that launch/run started",
        "all of them",
        "MPI_TYPE=pmix (srun --mpi=list shows what there is), or ADABATCH_LAUNCHER=mpirun",
    )
    horovod.check_ranks(cluster.size)
    return cluster


def known_launch() -> Launch | None:
    """Returns the launch that this process belongs to, with what is known of MPI under it; None without one."""
    found = launch()
    return found and replace(found, refused=refusal(found))


def engine_of(found: Launch | None, engine: str | None = None) -> str:
    """Returns the library that sums over the ranks of a launch, as far as this process can tell: horovod or torch.

    Args:
        found: The launch; None for one by mpirun that is still to come.
        engine: The engine asked for, as in ``start``.

    Raises:
        InputError: There is no such engine.
    """
    wanted = _wanted(engine)
    if wanted != "auto":
        return wanted
    knows = found is None or found.has_mpi or found.launcher == "horovodrun --gloo"
    return "horovod" if knows and horovod.load()[0] is not None else "torch"


def _wanted(engine: str | None) -> str:
    wanted = engine if engine not in (None, "auto") else engine_wanted()
    require(wanted in ENGINES, "engine", wanted, ", ".join(ENGINES), "--engine torch")
    return wanted


def _join(found: Launch, wanted: str) -> Cluster:
    own = found.launcher == "horovodrun --gloo"  # Horovod's own: tells nobody else where the ranks are
    allowed = f"a launcher that it knows, not {found.launcher}"
    example = "--engine torch, or mpirun, horovodrun, srun --mpi=pmix"
    given = f"horovod, but {found.refused}" if found.refused else "horovod"
    require(wanted != "horovod" or own or found.has_mpi, "engine", given, allowed, example)
    require(
        wanted != "torch" or not own, "engine", "torch", "horovod, which this launcher starts", "torchrun or mpirun"
    )
    chooses = wanted == "auto" and found.has_mpi
    loaded, why = horovod.load() if chooses else (None, "")
    if wanted == "horovod" or own or (chooses and on_all(loaded is not None, found.n_ranks)):
        return horovod.HorovodCluster(found)
    from .torch_distributed import TorchCluster

    cluster = TorchCluster(found)
    if chooses:
        _tell(cluster, cluster.gather(why))
    elif wanted == "auto" and found.refused and cluster.leads:
        other = "torch.distributed sums instead; for Horovod: srun --mpi=pmix, or mpirun"
        complain(f"adabatch: warning: {found.refused}: {other}")
    return cluster


def _tell(cluster: Cluster, whys: list[str]) -> None:
    """Says why the ranks do without Horovod, where at least one of them has it."""
    if cluster.leads and set(whys) != {horovod.ABSENT}:
        rank = next(rank for rank, why in enumerate(whys) if why)
        given = f"horovod {whys[rank]} on rank {rank}"
        again = f"to build it anew: {horovod.BUILDS}"
        complain(f"adabatch: warning: {given}: torch.distributed sums instead; {again}")


Cluster.start = staticmethod(start)
