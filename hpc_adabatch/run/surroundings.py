"""The processor and the software of a run, for its journal: numbers of two runs compare on the same ones only."""

from __future__ import annotations

import importlib.metadata
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ..cluster import Cluster


def surroundings(cluster: Cluster) -> dict[str, Any]:
    """Returns the fields of a journal's line that name this rank's processor, and the versions of what trains on it."""
    versions = {
        "hpc_adabatch": _version("hpc_adabatch"),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if cluster.engine == "horovod":
        versions["horovod"] = _version("horovod")
    if cluster.device.type == "cuda":
        built_for = {"rocm": torch.version.hip} if torch.version.hip else {"cuda": torch.version.cuda}
        return {"device_name": torch.cuda.get_device_name(cluster.device), "versions": versions | built_for}
    return {"device_name": _processor(), "versions": versions}


def _version(name: str) -> str | None:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def _processor() -> str:
    """Returns the model of this machine's processors; their architecture where the system does not name it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
