"""What is built, what the ranks see, what is wrong, and the command that fixes it.

Each rank looks at its own process and node; rank 0 prints what all ranks found.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from .cluster import Cluster, start
from .cluster.horovod import build
from .cluster.processors import share

GIB = 2**30
MPIRUN_WAITS_S = 30
BINDING = '--binding-args="--bind-to none --map-by slot"'
REBUILD = "rm -rf ~/.cache/hpc_adabatch/wheels .venv; ./launch/install"


@dataclass(frozen=True)
class Check:
    """One thing that a rank looked at."""

    what: str
    """The name of the thing."""
    found: str
    """The value, version or state found, as text."""
    mend: str = ""
    """The command that fixes it where it is wrong; empty when it is right."""


def examine() -> int:
    """Prints what all ranks found; returns 0 when nothing is wrong, else 1."""
    cluster = start()
    everyone = cluster.gather([*_software(), *_place(cluster), *_gpus(cluster), *_limits(cluster)])
    counts = Counter(check for checks in everyone for check in checks)
    wrong = [check for check in counts if check.mend]
    if cluster.leads:
        for check, ranks in counts.items():
            some = "" if ranks == cluster.size else f"  ({ranks} of {cluster.size} ranks)"
            print(f"{'wrong' if check.mend else 'ok':6} {check.what:18} {check.found}{some}")
            if check.mend:
                print(f"{'':6} {'':18} type: {check.mend}")
        print(f"{len(wrong)} thing(s) wrong" if wrong else "nothing is wrong")
    cluster.stop()
    return 1 if wrong else 0


def _software() -> Iterator[Check]:
    for name in ("hpc_adabatch", "torch", "torchvision", "horovod", "mpi4py", "numpy"):
        try:
            yield Check(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "missing", "./launch/install")
    yield Check("python", platform.python_version())
    yield Check("torch's CUDA", torch.version.cuda or "none: a CPU build")
    try:
        from .tasks.vision import torchvision

        yield Check("torchvision loads", torchvision.__version__)
    except Exception as error:  # its extension library may raise anything; the message is what helps
        yield Check("torchvision loads", f"{type(error).__name__}: {error}".splitlines()[0], REBUILD)
    yield from _horovod_and_mpi()


def _horovod_and_mpi() -> Iterator[Check]:
    try:
        built = build()
    except ImportError as error:
        yield Check("Horovod loads", str(error).splitlines()[0], REBUILD)
        return
    names = ", ".join(name for name, there in built.items() if there) or "nothing"
    lacking = torch.version.cuda is not None and not built["NCCL"]
    yield Check("Horovod built with", names, f"module load cuda nccl; {REBUILD}" if lacking else "")
    if built["MPI"]:
        mpirun = shutil.which("mpirun")
        if mpirun is None:
            yield Check(
                "mpirun", "not on PATH", "apt-get install openmpi-bin, or module load openmpi, or horovodrun --gloo"
            )
        else:
            version = subprocess.run(
                [mpirun, "--version"], capture_output=True, text=True, timeout=MPIRUN_WAITS_S, check=False
            ).stdout
            yield Check("mpirun", (version.splitlines() or ["silent"])[0])
            if re.search(r"\(Open MPI\) [5-9]", version):  # it refuses the single dashes of horovodrun 0.28.1
                yield Check("horovodrun", f"with this mpirun: horovodrun {BINDING} ..., or launch/run -n 2 ...")
        try:
            import mpi4py

            mpi4py.rc.initialize = (
                False  # ranks that were launched have started MPI already; here only its name is read
            )
            from mpi4py import MPI

            yield Check("MPI library", MPI.Get_library_version().split(",")[0].strip("\0\n "))
        except (ImportError, RuntimeError) as error:
            yield Check(
                "MPI library", str(error).splitlines()[0], "module load openmpi, or apt-get install libopenmpi-dev"
            )


def _place(cluster: Cluster) -> Iterator[Check]:
    yield Check("launched by", cluster.launcher)
    yield Check("ranks", f"{cluster.size} on {cluster.n_nodes} node(s)")
    hosts = Counter(cluster.gather(platform.node()))
    yield Check("nodes", ", ".join(f"{host} x {ranks}" for host, ranks in hosts.items()))


def _gpus(cluster: Cluster) -> Iterator[Check]:
    if not torch.cuda.is_available():
        present = Path("/proc/driver/nvidia/version").exists()
        mend = "nvidia-smi, to see whether this job was given one; sbatch --gres=gpu:N" if present else ""
        yield Check("GPUs", "none that torch can use", mend)
        return
    seen = torch.cuda.device_count()
    too_few = cluster.local_size > seen
    yield Check(
        "GPUs",
        f"{seen} for {cluster.local_size} rank(s) of this node",
        f"sbatch --gres=gpu:{cluster.local_size}" if too_few else "",
    )
    major, minor = torch.cuda.get_device_capability()
    architecture, carried = f"sm_{major}{minor}", torch.cuda.get_arch_list()
    fits = any(
        name.startswith(f"sm_{major}") and int(name[3:]) <= 10 * major + minor for name in carried if name[3:].isdigit()
    )
    yield Check(
        "GPU architecture",
        f"{torch.cuda.get_device_name()} is {architecture}; torch carries {' '.join(carried)}",
        "" if fits else "conda env create -f environment.yml (its torch still drives P100 and V100)",
    )


def _limits(cluster: Cluster) -> Iterator[Check]:
    (limit, sharing), threads = (mine := share(cluster.gather)), torch.get_num_threads()
    crowded = threads * sharing > limit.processors and threads > 1
    yield Check(
        "threads",
        f"{threads} a rank, {sharing} rank(s) on the same {limit.words}",
        f"export OMP_NUM_THREADS={mine.threads}" if crowded else "",
    )
    if sharing > limit.processors:
        most = max(1, int(limit.processors))
        mend = f"horovodrun -np {most} ..., or sbatch --cpus-per-task=4, or mpirun --bind-to none"
        yield Check("cores", f"{sharing} rank(s) wait for each other on {limit.words}", mend)
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else 0
    little = shared < GIB
    yield Check(
        "shared memory",
        f"{shared / GIB:.1f} GiB free" if not little else "less than 1 GiB free",
        "mount -o remount,size=8G /dev/shm" if little else "",
    )
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Check("open files", str(files), f"ulimit -n {min(65536, hard)}" if files < 1024 else "")
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if os.path.isdir("/dev/infiniband") and locked != resource.RLIM_INFINITY:
        yield Check(
            "locked memory",
            f"{locked} bytes, and InfiniBand needs all",
            "ulimit -l unlimited, or srun --propagate=NONE",
        )
