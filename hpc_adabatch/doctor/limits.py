"""Threads, shared memory, open files, locked memory."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from ..cluster import Cluster
from ..cluster.processors import share
from .check import Check

GIB = 2**30


def limits(cluster: Cluster) -> Iterator[Check]:
    """Yields what a rank may use; called on all ranks."""
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
