"""Names the machine and the versions for which the numbers of a table hold."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def machine(ranks: int, cores: int | None = None) -> str:
    """Returns processor, cores, ranks and threads as a text.

    Args:
        ranks: number of ranks that were started.
        cores: number of cores of all ranks, where this process is one rank and may be bound to fewer.
    """
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    found = f"{name}, {cores or len(os.sched_getaffinity(0))} cores{gpus()}"
    return f"{found}, {ranks} rank{'s' if ranks > 1 else ''} with a thread each"


def gpus() -> str:
    """Returns number and name of the GPUs; an empty text without GPUs."""
    import torch

    count = torch.cuda.device_count()
    return f", {count} x {torch.cuda.get_device_name()}" if count else ""


def versions() -> str:
    """Returns the versions of Python, torch, Horovod, numpy and mpirun."""
    found = [f"Python {platform.python_version()}"]
    for package in ("torch", "horovod", "numpy"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    try:
        shown = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=False).stdout
        found.append(shown.splitlines()[0])
    except (OSError, IndexError):
        found.append("no mpirun")
    return ", ".join(found)


def trained(notes: Sequence[Mapping[str, Any]], ranks: int) -> list[str]:
    """Returns lines that say when, by which code, with which versions and where the runs of a table were made.

    Args:
        notes: the notes of the runs (cells.py).
        ranks: number of ranks of each run.
    """
    began, codes = sorted(note["began"] for note in notes), sorted({note["code"] for note in notes})
    loads = [note["load"] for note in notes if "load" in note]
    return [
        f"Trained {began[0]} to {began[-1]}" if began else "Nothing trained yet",
        f"by {', '.join(codes)} (+: changed since that commit);",
        f"{versions()}.",
        f"{machine(ranks)}, one run after another, OMPI_MCA_mpi_yield_when_idle=1;",
        f"load average at the end of a run {min(loads)} to {max(loads)}." if loads else "",
    ]
