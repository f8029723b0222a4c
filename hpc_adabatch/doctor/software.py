"""Versions, and what the engine needs that will sum over ranks.

engine     is looked at
horovod    Horovod, mpi4py, and the mpirun that starts its ranks
torch      the backends of torch.distributed; whether Horovod is there does not matter
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator

import torch
from torch import distributed

from ..cluster.horovod import build
from ..shipped import in_checkout, installing
from .check import Check

MPIRUN_WAITS_S = 30
BINDING = '--binding-args="--bind-to none --map-by slot"'
REBUILD = "rm -rf ~/.cache/hpc_adabatch/wheels .venv; ./launch/install"
HOROVOD = "'hpc_adabatch[horovod]', with PIP_FIND_LINKS=FOLDER of a Horovod that was built for this torch"
NEEDED = ("hpc_adabatch", "torch", "torchvision", "numpy")
NEEDED_BY_HOROVOD = ("horovod", "mpi4py")


def software(engine: str) -> Iterator[Check]:
    """Yields what is installed, and whether the engine can be loaded.

    Args:
        engine: The engine that sums over ranks, or would in a launch: horovod or torch.
    """
    for name in (*NEEDED, *NEEDED_BY_HOROVOD):
        found = _version(name)
        needed = name in NEEDED or engine == "horovod"
        absent = "missing" if needed else f"not installed: {engine} sums over ranks without it"
        mend = installing(HOROVOD if name in NEEDED_BY_HOROVOD else name)
        yield Check(name, found or absent, mend if needed and not found else "")
    yield Check("python", platform.python_version())
    yield Check("torch's GPU code", _gpu_code())
    try:
        from ..tasks.vision import torchvision

        yield Check("torchvision loads", torchvision.__version__)
    except Exception as error:  # its extension library may raise anything; the message is what helps
        yield Check("torchvision loads", f"{type(error).__name__}: {error}".splitlines()[0], _anew("torch torchvision"))
    yield from _horovod() if engine == "horovod" else _torch_distributed()


def _anew(packages: str) -> str:
    """Returns what to type so that packages are there anew: in a checkout its installation, else those of pip."""
    return REBUILD if in_checkout() else installing(f"--force-reinstall {packages}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _gpu_code() -> str:
    if torch.version.hip:
        return f"ROCm {torch.version.hip}"
    return f"CUDA {torch.version.cuda}" if torch.version.cuda else "none: a CPU build"


def _torch_distributed() -> Iterator[Check]:
    backends = {"gloo": distributed.is_gloo_available(), "nccl": distributed.is_nccl_available()}
    names = ", ".join(name for name, there in backends.items() if there) or "nothing"
    lacks = not backends["gloo"] or (torch.cuda.is_available() and not backends["nccl"])
    mend = f"{_anew('torch')}, for a torch that has both"
    yield Check("torch.distributed", f"with {names}", mend if lacks else "")


def _horovod() -> Iterator[Check]:
    try:
        built = build()
    except ImportError as error:
        yield Check("Horovod loads", str(error).splitlines()[0], f"{_anew(HOROVOD)}; or export ADABATCH_ENGINE=torch")
        return
    names = ", ".join(name for name, there in built.items() if there) or "nothing"
    lacking = torch.version.cuda is not None and not built["NCCL"]
    yield Check("Horovod built with", names, f"module load cuda nccl; {_anew(HOROVOD)}" if lacking else "")
    if built["MPI"]:
        yield from _mpirun()


def _mpirun() -> Iterator[Check]:
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        mend = "apt-get install openmpi-bin, or module load openmpi, or horovodrun --gloo"
        yield Check("mpirun", "not on PATH", mend)
        return
    version = subprocess.run(
        [mpirun, "--version"], capture_output=True, text=True, timeout=MPIRUN_WAITS_S, check=False
    ).stdout
    yield Check("mpirun", (version.splitlines() or ["silent"])[0])
    if re.search(r"\(Open MPI\) [5-9]", version):  # it refuses the single dashes of horovodrun 0.28.1
        yield Check("horovodrun", f"with this mpirun: horovodrun {BINDING} ..., or launch/run -n 2 ...")
