"""Cores, GPU and NUMA node of each rank.

    sched_getaffinity                                cores that a rank may use; all of the node: it is not bound
    /sys/devices/system/node/node*/cpulist           cores of each NUMA node
    /sys/bus/pci/devices/DDDD:BB:DD.0/numa_node      NUMA node of a GPU; -1 where the firmware does not tell

A rank whose GPU hangs on another NUMA node than its cores copies every batch over the link between the two.
"""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .. import environment
from ..cluster.processors import cores
from .check import Check


class Gpu(NamedTuple):
    """The GPU of a rank."""

    number: int
    """The number among those that the rank sees."""
    identity: str
    """A text that tells the GPU from all others of its node."""
    numa: int | None
    """The NUMA node; None where it is not known."""


class Binding(NamedTuple):
    """The cores, NUMA nodes and GPU of one rank."""

    host: str
    """The name of the node."""
    local_rank: int
    """The number of the rank within its node."""
    cores: frozenset[int]
    """The cores that the rank may use."""
    of: int
    """The number of cores of the node that are online."""
    numa: tuple[int, ...]
    """The NUMA nodes of those cores; empty where they are not known."""
    gpu: Gpu | None
    """The GPU; None without one."""

    @property
    def words(self) -> str:
        """Returns the binding in words, without the node's name."""
        mine = f"all {self.of} cores (not bound)" if len(self.cores) >= self.of else f"cores {ranges(self.cores)}"
        numa = f"NUMA {ranges(self.numa)}" if self.numa else "NUMA not known"
        if self.gpu is None:
            return f"{mine}, {numa}, no GPU"
        near = "NUMA not known" if self.gpu.numa is None else f"NUMA {self.gpu.numa}"
        return f"{mine}, {numa}, GPU {self.gpu.number} ({near})"


def look(local_rank: int, root: Path = Path("/")) -> Binding:
    """Returns what this process is bound to.

    Args:
        local_rank: The number of this rank within its node.
        root: The folder that stands for /.
    """
    mine = cores()
    gpu = _gpu(root) if torch.cuda.is_available() else None
    return Binding(platform.node(), local_rank, mine, os.cpu_count() or len(mine), numa_nodes(mine, root), gpu)


def numa_nodes(mine: frozenset[int], root: Path = Path("/")) -> tuple[int, ...]:
    """Returns the NUMA nodes that these cores belong to; nothing where the kernel does not tell."""
    folders = (root / "sys/devices/system/node").glob("node[0-9]*")
    found = {int(folder.name[4:]): _cpus(folder / "cpulist") for folder in folders}
    return tuple(sorted(number for number, its in found.items() if its & mine))


def bindings(ranks: Sequence[Binding]) -> Iterator[Check]:
    """Yields a line for all ranks that are bound alike, and what is wrong with it.

    Args:
        ranks: The binding of each rank, in the order of the ranks.
    """
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for rank, one in enumerate(ranks):
        alike[one.words, _mend(one, ranks)].append(rank)
    for (words, mend), numbers in alike.items():
        yield Check("binding", f"rank{'s' if len(numbers) > 1 else ''} {ranges(numbers)}: {words}", mend)


def _mend(one: Binding, ranks: Sequence[Binding]) -> str:
    if one.gpu is None:
        return ""
    node = [other for other in ranks if other.host == one.host]
    used = [other.gpu.identity for other in node if other.gpu is not None]
    if used.count(one.gpu.identity) > 1:
        return f"sbatch --gres=gpu:{len(node)}, a GPU for each rank; or fewer ranks a node"
    if one.gpu.numa is None or not one.numa or one.gpu.numa in one.numa:
        return ""
    near = [other.gpu.numa for other in sorted(node, key=lambda other: other.local_rank) if other.gpu is not None]
    domains = ",".join(str(number) for number in near if number is not None)
    return f"--cpu-bind=map_ldom:{domains} in SRUN_FLAGS, in place of its --cpu-bind; mpirun --bind-to none"


def ranges(numbers: Iterable[int]) -> str:
    """Returns numbers in the kernel's short form, such as 0-3,8."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][-1] + 1:
            found[-1] = [found[-1][0], number]
        else:
            found.append([number])
    return ",".join("-".join(map(str, each)) for each in found)


def _gpu(root: Path) -> Gpu:
    index = torch.cuda.current_device()
    told: Any = torch.cuda.get_device_properties(index)
    address = ""
    if hasattr(told, "pci_bus_id"):  # not in old torch
        address = f"{told.pci_domain_id:04x}:{told.pci_bus_id:02x}:{told.pci_device_id:02x}.0"
    try:
        numa = int((root / "sys/bus/pci/devices" / (address or "none") / "numa_node").read_text(encoding="ascii"))
    except (OSError, ValueError):
        numa = -1
    seen = environment.variables().get("CUDA_VISIBLE_DEVICES", "")
    return Gpu(index, str(getattr(told, "uuid", "")) or address or f"{index} of {seen}", numa if numa >= 0 else None)


def _cpus(path: Path) -> set[int]:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return set()
    ends = [part.split("-") for part in text.split(",") if part]
    return {number for each in ends for number in range(int(each[0]), int(each[-1]) + 1)}
