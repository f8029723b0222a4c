"""The processors that this rank may use: the cores that it is bound to, and the quotas of its control groups.

    sched_getaffinity                        cores, by a launcher, Slurm or taskset
    cpu.max (cgroup v2)                      microseconds that may be used in each period of so many: 200000 100000 are
    cpu.cfs_quota_us, cpu.cfs_period_us      two processors' worth of time, on whatever cores; max and -1: no quota

Containers and Kubernetes set quotas, and leave all cores of the node to be seen. A quota holds for the group and all
within it together: https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/scheduler/sched-bwc.html.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple


class Limit(NamedTuple):
    """One of the limits on the processors of a rank."""

    key: Hashable
    """The same on every rank that shares the limit, and on no other."""
    processors: float
    """The processors that those ranks may use together; with a quota, on average over time."""
    words: str
    """The limit, for people."""


class Share(NamedTuple):
    """The tightest limit of a rank, and the number of those who share it."""

    limit: Limit
    """The limit."""
    ranks: int
    """The number of ranks that share it, this one among them."""

    @property
    def threads(self) -> int:
        """Returns the number of threads with which these ranks, all busy, do not wait for each other; at least 1."""
        return max(1, int(self.limit.processors / self.ranks))


def cores() -> frozenset[int]:
    """Returns the cores that this process may run on; a launcher that binds gives each rank its own."""
    return frozenset(os.sched_getaffinity(0))


def share(gather: Callable[[Any], list[Any]], root: Path = Path("/")) -> Share:
    """Returns the limit that leaves this rank the fewest processors, where ranks divide it evenly.

    Args:
        gather: Returns the items of all ranks, as ``Cluster.gather`` does.
        root: The folder that stands for /.
    """
    node, mine = os.uname().nodename, cores()
    limits = [Limit((node, mine), len(mine), f"{len(mine)} core(s)"), *_quotas(node, root)]
    ranks = Counter(key for keys in gather([limit.key for limit in limits]) for key in keys)
    shares = [Share(limit, ranks[limit.key]) for limit in limits]
    return min(shares, key=lambda one: one.limit.processors / one.ranks)


def _quotas(node: str, root: Path) -> Iterator[Limit]:
    for folder in groups(root, "cpu"):
        processors = _quota(folder)
        if processors < math.inf:
            found = folder.stat()  # its number tells groups apart also where each container sees its own as /
            yield Limit((node, found.st_dev, found.st_ino), processors, f"quota of {processors:g} core(s)")


def groups(root: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of this process's control groups that may have a limit, with all that they lie in.

    Args:
        root: The folder that stands for /.
        controller: The resource that is limited, as version 1 names it, such as ``cpu`` or ``memory``.
    """
    mounts, own = lines(root / "proc/self/mountinfo"), lines(root / "proc/self/cgroup")
    paths = {name: path for _, names, path in (line.split(":", 2) for line in own) for name in names.split(",")}
    for line in mounts:
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        limits = kind == "cgroup" and controller in options.split(",")
        name = "" if kind == "cgroup2" else controller if limits else None
        if name is None or name not in paths:
            continue
        _, _, _, top, point, *_ = fields.split(" ")
        mounted = root / point.lstrip("/")
        within = PurePosixPath(paths[name])
        inside = within.relative_to(top) if within.is_relative_to(top) and ".." not in within.parts else PurePosixPath()
        yield from (mounted / part for part in (inside, *inside.parents))


def _quota(folder: Path) -> float:
    text = " ".join(lines(folder / "cpu.max")) or " ".join(
        line for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us") for line in lines(folder / name)
    )
    try:
        quota, period = map(int, text.split())
    except ValueError:  # max, or nothing of the kind
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf


def lines(path: Path) -> list[str]:
    """Returns the lines of a file of the kernel; none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
