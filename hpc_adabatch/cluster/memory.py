"""The memory that the processes of this node may use: what is free, or less where a control group has a limit.

MemAvailable (/proc/meminfo)                        what programs can have without swapping
memory.max (cgroup v2), memory.limit_in_bytes (v1)  the limit of a container, or of a job under Slurm
memory.current (v2), memory.usage_in_bytes (v1)     what is used of it, files among it that the kernel can drop
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from .processors import groups, lines


def available_bytes(root: Path = Path("/")) -> int | None:
    """Returns the bytes; None where nothing tells them.

    Args:
        root: The folder that stands for /.
    """
    found = [*_free(root), *_limits(root)]
    return min(found) if found else None


def left_bytes(root: Path = Path("/")) -> int | None:
    """Returns the bytes that the processes of this node can have besides what they use; None where nothing tells.

    Args:
        root: The folder that stands for /.
    """
    found = [*_free(root), *_unused(root)]
    return max(0, min(found)) if found else None


def check_memory(field: str, given: object, needed: int, hint: str) -> None:
    """Refuses what would take more memory than there is, before the kernel ends the process for it.

    Args:
        field: The field that decides how much it takes.
        given: The value that was given.
        needed: The bytes that this and the other ranks of the node need.
        hint: The words to type instead.

    Raises:
        InputError: They are more than there are.
    """
    there = available_bytes()
    if there is not None and needed > there:
        allowed = f"what takes at most the {there / 1e9:,.1f} GB of this node"
        gigabytes = min(needed, 10**30) / 1e9  # integers have no end, floats have
        raise InputError(field, f"{given}, which takes {gigabytes:,.1f} GB on its ranks", allowed, hint)


def _free(root: Path) -> Iterator[int]:
    for line in lines(root / "proc/meminfo"):
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            yield 1024 * int(rest.split()[0])


def _limits(root: Path) -> Iterator[int]:
    for folder in groups(root, "memory"):
        yield from _numbers(folder, "memory.max", "memory.limit_in_bytes")


def _unused(root: Path) -> Iterator[int]:
    for folder in groups(root, "memory"):
        used = sum(_numbers(folder, "memory.current", "memory.usage_in_bytes"))
        stat = dict(line.split(" ", 1) for line in lines(folder / "memory.stat"))
        droppable = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
        yield from (limit - used + droppable for limit in _numbers(folder, "memory.max", "memory.limit_in_bytes"))


def _numbers(folder: Path, *names: str) -> Iterator[int]:
    """Yields the number in each of these files of a control group that has one."""
    for name in names:
        yield from (int(line) for line in lines(folder / name) if line.isdigit())
