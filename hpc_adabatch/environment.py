"""What the launcher and the machine say about this process, and what it tells them: the only reader of os.environ."""

import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .errors import require


class _Launcher(NamedTuple):
    """The environment variables that a launcher sets in each process that it starts."""

    name: str
    rank: str
    n_ranks: str
    local_rank: str
    with_local_rank: bool = False
    """True where another launcher sets rank and n_ranks too, and the local rank alone tells them apart."""
    any_program: bool = False
    """True for a scheduler's own launcher, which starts programs without MPI too: a task alone is a plain process."""
    beside: str | None = None
    """Another variable that this launcher sets, where scripts set the others by themselves; None for none."""


# The first row whose rank and number of ranks are set is the launcher. Variables that one launcher alone sets stand
# before those that several set: srun --mpi=pmi2, srun --mpi=cray_shasta and flux run set PMI_RANK and PMI_SIZE as well,
# and the Spectrum MPI that jsrun starts is an Open MPI. Hydra may start its proxies by srun, one a node, and hands on
# their Slurm variables: it stands before srun, told by a local rank that srun does not set.
_LAUNCHERS = (
    # https://docs.pytorch.org/docs/stable/elastic/run.html; scripts export the first three under srun, too
    _Launcher("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", beside="TORCHELASTIC_RUN_ID"),
    # Horovod 0.28.1, horovod/runner/gloo_run.py
    _Launcher("horovodrun --gloo", "HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK"),
    # https://github.com/Lightning-AI/pytorch-lightning/blob/master/src/lightning/fabric/plugins/environments/lsf.py
    _Launcher("jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK"),
    # https://docs.open-mpi.org/en/v5.0.6/tuning-apps/environment-var.html
    _Launcher("mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    # MVAPICH2 User Guide, sections 13.1 to 13.4
    _Launcher("mpirun_rsh", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK"),
    # of MVAPICH 3 and newer, which call them otherwise
    _Launcher("mpirun_rsh", "MVP_COMM_WORLD_RANK", "MVP_COMM_WORLD_SIZE", "MVP_COMM_WORLD_LOCAL_RANK"),
    # https://github.com/flux-framework/flux-core/blob/master/src/shell/task.c
    _Launcher("flux run", "FLUX_TASK_RANK", "FLUX_JOB_SIZE", "FLUX_TASK_LOCAL_ID", any_program=True),
    # Hydra, of MPICH and Intel MPI: https://github.com/pmodels/mpich/blob/main/src/pm/hydra/proxy/pmip_cb.c
    _Launcher("mpiexec", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", with_local_rank=True),
    # srun(1), output environment variables
    _Launcher("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", any_program=True),
    # HPE's names: https://github.com/SchedMD/slurm/blob/master/src/plugins/mpi/cray_shasta/mpi_cray_shasta.c
    _Launcher("mpiexec (PALS)", "PALS_RANKID", "PMI_SIZE", "PALS_LOCAL_RANKID"),
    # another process manager with PMI: https://flux-framework.readthedocs.io/projects/flux-rfc/en/latest/spec_13.html
    _Launcher("mpiexec", "PMI_RANK", "PMI_SIZE", "PMI_LOCAL_RANK"),
)


OLDER_PMI = "PMI-1 or PMI-2"


@dataclass(frozen=True)
class Launch:
    """The launcher that started this process and its place among the ranks, before any library is asked."""

    launcher: str
    """The name of the launcher."""
    rank: int
    """The number of this process among all ranks."""
    n_ranks: int
    """The number of ranks."""
    local_rank: int
    """The number of this process within its node."""
    refused: str = ""
    """The reason, in words, why the MPI that is here cannot start under this launcher; empty where none is known."""

    @property
    def by_older_pmi(self) -> bool:
        """Reports whether srun has started this process by PMI-1 or PMI-2, which not every MPI speaks."""
        return self.launcher == "srun" and pmi() == OLDER_PMI

    @property
    def has_mpi(self) -> bool:
        """Reports whether the launcher has told each rank how to reach the others by MPI."""
        if self.refused:
            return False
        if self.launcher == "srun":  # of its plugins, pmix and pmi2 do; --mpi=none does not
            return any(name.startswith(("PMIX_", "PMI_", "PMI2_")) for name in os.environ)
        return self.launcher not in ("horovodrun --gloo", "torchrun")


def launch() -> Launch | None:
    """Returns the launch that this process belongs to; None for a process that was started by hand.

    None stands for the only task of ``srun`` or ``flux run`` too, and so for what is typed in ``srun --pty bash``: such
    a task may have no PMI, without which MPI ends it.
    """
    for name, rank, n_ranks, local_rank, with_local_rank, any_program, beside in _LAUNCHERS:
        if {rank, n_ranks, *([local_rank] if with_local_rank else []), beside or rank} <= os.environ.keys():
            found = Launch(name, int(os.environ[rank]), int(os.environ[n_ranks]), int(os.environ.get(local_rank, 0)))
            return None if any_program and found.n_ranks == 1 else found
    return None


def stop_file() -> Path | None:
    """Returns ADABATCH_STOP_FILE: the file that a batch script makes when Slurm tells it to stop."""
    text = os.environ.get("ADABATCH_STOP_FILE", "")
    return Path(text) if text else None


def code_file() -> Path | None:
    """Returns the file in which launch/run looks for the exit code of the ranks; None without launch/run."""
    file = stop_file()
    return file.with_name(f"{file.name}.code") if file is not None else None


def leave_code(code: int) -> None:
    """Leaves the exit code for launch/run, where it was called by that, and no rank has left one.

    0 takes back what these ranks have left before torchrun started them again.
    """
    file = code_file()
    if file is None:
        return
    with suppress(OSError):
        if code == 0:
            file.unlink()
        else:
            with file.open("x", encoding="ascii") as written:
                written.write(str(code))


def code_is_left() -> bool:
    """Reports whether a rank has left its exit code for launch/run, and so has said what it has to say."""
    file = code_file()
    return file is not None and file.exists()


class FollowingJob(NamedTuple):
    """A job that submits its successor on other nodes where its run asks for them, as launch/job tells the ranks."""

    nodes: int
    """The nodes of the job."""
    moves_left: int
    """The number of times that a job of this chain may still go on on other nodes."""
    waited_s: float | None
    """The seconds that the job has waited in the queue; None where the queue does not say."""


def following_job() -> FollowingJob | None:
    """Returns the job that goes on on other nodes where its run asks for them; None where none would."""
    nodes, moves, waited = (os.environ.get(f"ADABATCH_{name}", "") for name in ("JOB_NODES", "MOVES_LEFT", "WAITED_S"))
    if not nodes.isdigit() or stop_file() is None:
        return None
    return FollowingJob(int(nodes), int(moves) if moves.isdigit() else 0, float(waited) if waited.isdigit() else None)


def leave_nodes(count: int) -> None:
    """Leaves the node count on which the run wants to go on for launch/job; without it the job is queued as it is."""
    file = stop_file()
    if file is not None:
        with suppress(OSError):
            file.with_name(f"{file.name}.nodes").write_text(str(count), encoding="ascii")


def home() -> Path | None:
    """Returns ADABATCH_HOME: the checkout whose launch/job the batch scripts call; None where it is not set."""
    text = os.environ.get("ADABATCH_HOME", "")
    return Path(text) if text else None


def stall_limit_s() -> float | None:
    """Returns ADABATCH_STALL_S: seconds after which a rank that does not move ends itself.

    They are inf for ``off``, and None where the variable is not set.

    Raises:
        InputError: The variable is neither a positive number nor ``off``.
    """
    text = os.environ.get("ADABATCH_STALL_S", "")
    if not text:
        return None
    if text == "off":
        return math.inf
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    require(seconds > 0, "ADABATCH_STALL_S", text, "seconds, more than 0, or off", "export ADABATCH_STALL_S=600")
    return seconds


def prepare_horovod() -> bool:
    """Sets for Horovod's start what suits messages of ours, unless the user or the site has set it.

    Fusion is off: few messages travel, in an order of their own. They wait for a cycle (ms): it is half of its own.

    Returns:
        True where nobody had said whether Horovod joins messages.
    """
    was_set = "HOROVOD_FUSION_THRESHOLD" in os.environ
    os.environ.setdefault("HOROVOD_FUSION_THRESHOLD", "0")
    os.environ.setdefault("HOROVOD_CYCLE_TIME", "0.5")
    return not was_set


def engine() -> str:
    """Returns ADABATCH_ENGINE: the library that sums gradients over ranks; ``auto`` where it is not set."""
    return os.environ.get("ADABATCH_ENGINE", "") or "auto"


def master() -> tuple[str, int] | None:
    """Returns MASTER_ADDR and MASTER_PORT: where ranks of torch.distributed meet; None where they are not set."""
    host, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    if not host or not port:
        return None
    fits = port.isdigit() and 0 < int(port) < 2**16
    require(fits, "MASTER_PORT", port, "a number from 1 to 65535", "export MASTER_PORT=29500")
    return host, int(port)


def keeps_store() -> bool:
    """Reports whether torchrun itself listens at MASTER_PORT; by its version and rendezvous, rank 0 shall do so."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE", "") == "True"


def slurm_step() -> tuple[str, str] | None:
    """Returns a word that only the ranks of this job step share, and its first node; None outside of Slurm."""
    job, step = os.environ.get("SLURM_JOB_ID", ""), os.environ.get("SLURM_STEP_ID", "")
    nodes = os.environ.get("SLURM_STEP_NODELIST", "") or os.environ.get("SLURM_JOB_NODELIST", "")
    if not job or not nodes:
        return None
    return f"{job}.{step}.{os.environ.get('SLURM_RESTART_COUNT', '0')}", first_node(nodes)


def first_node(nodes: str) -> str:
    """Returns the first name of Slurm's short form of many: of ``n[02-07,9]-ib,m1`` it is ``n02-ib``."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first[0]) if first is not None else nodes


def pmi() -> str | None:
    """Returns the kind of PMI through which this process was started, in words; None without one."""
    kinds = {"PMIX_RANK": "PMIx", "PALS_RANKID": "Cray PMI (PALS)", "PMI_RANK": OLDER_PMI}
    return next((words for name, words in kinds.items() if name in os.environ), None)


def job_end_s() -> float | None:
    """Returns SLURM_JOB_END_TIME: the end of the Slurm job, in seconds since 1970; None where Slurm does not set it."""
    text = os.environ.get("SLURM_JOB_END_TIME", "")
    return float(text) if text.isdigit() else None


def slurm_job() -> tuple[str | None, int]:
    """Returns the Slurm job that this process is part of, and how often Slurm has started it again; None for no job."""
    restarts = os.environ.get("SLURM_RESTART_COUNT", "")
    return os.environ.get("SLURM_JOB_ID") or None, int(restarts) if restarts.isdigit() else 0


def ranks_wanted() -> int | None:
    """Returns ADABATCH_RANKS: the number of ranks that launch/run started; None without launch/run."""
    text = os.environ.get("ADABATCH_RANKS", "")
    return int(text) if text.isdigit() else None


def threads_wanted() -> int | None:
    """Returns OMP_NUM_THREADS where the user or the site set it; else None."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() and int(text) > 0 else None


@contextmanager
def changed(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables within the block, for a library that reads them by itself."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def variables() -> dict[str, str]:
    """Returns a copy of all environment variables, for a program to be called."""
    return dict(os.environ)
