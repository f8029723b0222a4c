"""Whether each rank has a GPU that this torch can use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from ..shipped import in_checkout
from .check import Check

OLDER = "conda env create -f environment.yml (its torch still drives P100 and V100)"
OLDER_BY_PIP = (
    "pip install --force-reinstall 'torch==2.13.*' from PyTorch's index for CUDA 12.6, which drives P100 and V100"
)


def gpus() -> Iterator[Check]:
    """Yields the GPUs that this rank sees, and whether torch carries code for them."""
    if not torch.cuda.is_available():
        present = Path("/proc/driver/nvidia/version").exists()
        mend = "nvidia-smi, to see whether this job was given one; sbatch --gres=gpu:N" if present else ""
        yield Check("GPUs", "none that torch can use", mend)
        return
    yield Check("GPUs", f"{torch.cuda.device_count()} seen by a rank")
    if torch.version.hip:
        yield Check("GPU architecture", torch.cuda.get_device_name())
        return
    major, minor = torch.cuda.get_device_capability()
    fits = runs_on(torch.cuda.get_arch_list(), major, minor)
    yield Check(
        "GPU architecture",
        f"{torch.cuda.get_device_name()} is sm_{major}{minor}; torch carries {' '.join(torch.cuda.get_arch_list())}",
        "" if fits else OLDER if in_checkout() else OLDER_BY_PIP,
    )


def runs_on(carried: list[str], major: int, minor: int) -> bool:
    """Reports whether code for one of these architectures, such as sm_70, runs on a GPU of this compute capability."""
    numbers = [int(name[3:]) for name in carried if name.startswith("sm_") and name[3:].isdigit()]
    return any(number // 10 == major and number % 10 <= minor for number in numbers)
