"""Memory limits of jobs through control groups (version 1), private to one cluster.

Slurm keeps its groups in <mount point>/memory/slurm_<node>, and asks the mount point for files that only the root of a
hierarchy has. So each node sees an imitation of the root with nothing but those files, and in it, as slurm_<node>, a
group of this cluster and node: neither a Slurm that is already there nor a second cluster shares a group with it.

Without the memory controller of version 1 (many machines have version 2 only) a job is not constrained but watched:
Slurm samples it every second and kills what has outgrown its memory. Such a job is FAILED, not OUT_OF_MEMORY.

Not here: what the end of such a job looks like (cluster.py).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

HIERARCHY = Path("/sys/fs/cgroup/memory")
SCRIPT = """\
mount -t tmpfs tmpfs {folder}/cgroup
mkdir -p {folder}/cgroup/memory/slurm_{name} {group}
for file in release_agent notify_on_release memory.use_hierarchy tasks cgroup.procs; do
    echo 1 >{folder}/cgroup/memory/$file
done
for file in tasks cgroup.procs; do # where slurmstepd goes before it removes a step's group
    mount --bind {group}/$file {folder}/cgroup/memory/$file
done
mount --bind {group} {folder}/cgroup/memory/slurm_{name}
"""


def constrained() -> bool:
    """Whether this machine can hold jobs to their memory."""
    return (HIERARCHY / "memory.limit_in_bytes").exists()


def group(folder: Path, node: str) -> Path:
    return HIERARCHY / f"{folder.name}-{node}"


def script(folder: Path, node: str) -> str:
    """For the node's process 1."""
    return SCRIPT.format(folder=folder, name=node, group=group(folder, node)) if constrained() else ""


def slurm_conf() -> str:
    return "TaskPlugin=task/cgroup\n" if constrained() else "TaskPlugin=task/none\nJobAcctGatherParams=OverMemoryKill\n"


def cgroup_conf(folder: Path) -> str:
    if not constrained():
        return "ConstrainRAMSpace=no\n"
    return f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={folder}/cgroup\nConstrainRAMSpace=yes\n"


def remove(folder: Path, node: str) -> None:
    """The node's groups; nothing runs in them any more."""
    for path, _, _ in os.walk(group(folder, node), topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()
