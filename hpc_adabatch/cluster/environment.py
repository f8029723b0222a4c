"""What the launcher and the machine say about this process: the only reader of os.environ.

Not here: Horovod (horovod.py), GPUs and threads (device.py).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import require

# Launcher                  rank                    number of ranks          rank on this node
_LAUNCHERS = (
    ("horovodrun --gloo", "HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK"),
    ("mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("mpiexec", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
)


@dataclass(frozen=True)
class Launch:
    """Which launcher started this process, and its place among the ranks, before any library is asked."""

    launcher: str
    rank: int
    n_ranks: int
    local_rank: int

    @property
    def has_mpi(self) -> bool:
        return self.launcher != "horovodrun --gloo"


def launch() -> Launch | None:
    """The launch this process belongs to; None when it was started by hand."""
    for launcher, rank, n_ranks, local_rank in _LAUNCHERS:
        if rank in os.environ and n_ranks in os.environ:
            return Launch(launcher, int(os.environ[rank]), int(os.environ[n_ranks]), int(os.environ.get(local_rank, 0)))
    return None


def stop_file() -> Path | None:
    """ADABATCH_STOP_FILE: made by a batch script that was told to stop."""
    text = os.environ.get("ADABATCH_STOP_FILE", "")
    return Path(text) if text else None


def stall_limit_s() -> float | None:
    """ADABATCH_STALL_S: seconds after which a rank that does not move ends; None for never.

    Raises:
        InputError: it is no such number.
    """
    text = os.environ.get("ADABATCH_STALL_S", "")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    require(seconds > 0, "ADABATCH_STALL_S", text, "seconds, more than 0", "export ADABATCH_STALL_S=600")
    return seconds


def ranks_wanted() -> int | None:
    """ADABATCH_RANKS: as many as launch/run has started, which is what Slurm was asked for."""
    text = os.environ.get("ADABATCH_RANKS", "")
    return int(text) if text.isdigit() else None


def threads_wanted() -> int | None:
    """OMP_NUM_THREADS when the user or the site set it."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() and int(text) > 0 else None


def variables() -> dict[str, str]:
    """All of them, for a program to be called."""
    return dict(os.environ)
