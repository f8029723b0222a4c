"""File systems, locks, room and quotas of the output and of the data.

file system    the last mount in /proc/self/mountinfo whose folder the path lies in
seen           rank 0 leaves a file there, and every rank looks for it: a folder that other nodes do not have
locks          flock on that file; Lustre and NFS may be mounted without
quota          `lfs quota` on Lustre, else `quota`; sites with others (Spectrum Scale, WEKA) have commands of their own
"""

from __future__ import annotations

import fcntl
import getpass
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..cluster import Cluster
from ..recipe import Recipe
from ..tasks import Task
from .check import Check

GIB = 2**30
QUOTA_WAITS_S = 10
NAMES = {
    "lustre": "Lustre",
    "nfs": "NFS",
    "nfs4": "NFS",
    "gpfs": "Spectrum Scale (GPFS)",
    "beegfs": "BeeGFS",
    "tmpfs": "memory (tmpfs)",
    "ramfs": "memory (ramfs)",
    "overlay": "layers of a container (overlay)",
}
FIELDS = ("root", "file", "train", "test")  # of tasks that name files or folders


class Mount(NamedTuple):
    """A mounted file system."""

    point: str
    """The folder it is mounted at."""
    kind: str
    """The kernel's word for it, such as lustre, nfs4 or ext4."""

    @property
    def words(self) -> str:
        """Returns the file system in words."""
        return f"{NAMES.get(self.kind, self.kind)} at {self.point}"


class Quota(NamedTuple):
    """A user's share of a file system, in KiB and in files; 0 as a limit stands for none."""

    used_kib: int
    """The KiB in use."""
    limit_kib: int
    """The most KiB allowed: the soft limit where there is one, else the hard one."""
    used_files: int
    """The files in use."""
    limit_files: int
    """The most files allowed."""

    @property
    def full(self) -> bool:
        """Reports whether less than a twentieth is left."""
        pairs = ((self.used_kib, self.limit_kib), (self.used_files, self.limit_files))
        return any(limit and used > 0.95 * limit for used, limit in pairs)

    @property
    def words(self) -> str:
        """Returns the quota in words."""
        room = (
            f"{_gib(1024 * self.used_kib)} of {_gib(1024 * self.limit_kib)}" if self.limit_kib else "no limit of room"
        )
        files = f"{self.used_files:,} of {self.limit_files:,} files" if self.limit_files else "no limit of files"
        return f"{room}, {files}"


def storage(cluster: Cluster, recipe: Recipe | None, out: Path) -> Iterator[Check]:
    """Yields where the output and the data lie; called on all ranks.

    Args:
        cluster: The ranks.
        recipe: The recipe; None where none was given.
        out: The folder for the output, which may not exist yet.
    """
    yield from _output(cluster, out)
    if recipe is None:
        yield Check("data", "not known: no recipe was given (adabatch doctor RECIPE)")
        return
    yield from _data(recipe.task)


def _output(cluster: Cluster, out: Path) -> Iterator[Check]:
    folder = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    mount = mount_of(folder)
    left = _Left(folder) if cluster.leads else None
    name = cluster.tell(left.name if left is not None else None)
    there = Path(name).exists()
    cluster.barrier()  # all have looked
    if left is not None:
        left.remove()
        free = shutil.disk_usage(folder).free
        mend = "rm, or --out of a folder with room" if free < GIB else ""
        mend = "--out of a folder that can be written" if left.refused else mend
        yield Check("output", f"{folder}: {mount.words}, {_gib(free)} free, {left.refused or left.locks}", mend)
        yield quota(mount)
    if name and cluster.size > 1:
        mend = "--out of a folder that all nodes see; sbatch --chdir=/shared/folder"
        yield Check("output is seen", "yes" if there else "no: it is another folder there", "" if there else mend)


def _data(task: Task) -> Iterator[Check]:
    named = [(field, path) for field in FIELDS if isinstance(path := getattr(task, field, None), str)]
    if not named:
        yield Check("data", "the task needs no files")
    for field, text in named:
        path = Path(text).absolute()
        if path.exists():
            yield Check("data", f"task.{field} {path}: {mount_of(path).words}")
        elif getattr(task, "download", False):
            yield Check("data", f"task.{field} {path}: not there yet, training will download it")
        else:
            load = ", or --task.download true where there is internet" if hasattr(task, "download") else ""
            yield Check("data", f"task.{field} {path}: not there", f"--task.{field} PATH{load}")


class _Left:
    """A file that rank 0 leaves in a folder, to be looked for by the others."""

    def __init__(self, folder: Path) -> None:
        self.name, self.refused, self.locks = "", "", ""
        try:
            descriptor, self.name = tempfile.mkstemp(prefix=".adabatch-doctor-", dir=folder)
        except OSError as error:
            self.refused = f"cannot be written ({error.strerror})"
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.locks = "files can be locked"
        except OSError as error:
            self.locks = f"no locks ({error.strerror}): studies write down who is there instead"
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        if self.name:
            Path(self.name).unlink(missing_ok=True)


def mount_of(path: Path, root: Path = Path("/")) -> Mount:
    """Returns the file system that a path lies on.

    Args:
        path: An absolute path that exists.
        root: The folder whose proc/self/mountinfo is read.
    """
    try:
        lines = (root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return _mount_of(os.path.realpath(path), lines)


def _mount_of(path: str, lines: Sequence[str]) -> Mount:
    best = Mount("/", "a file system that is not known")
    for line in lines:  # of two at one folder, the later lies on top
        fields, _, rest = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields.split(" ")[4])
        inside = point == "/" or path == point or path.startswith(f"{point}/")
        if inside and len(point) >= len(best.point):
            best = Mount(point, rest.split(" ")[0])
    return best


def quota(mount: Mount) -> Check:
    """Returns the user's quota on a file system, or that it is not known."""
    user = getpass.getuser()
    line = ["lfs", "quota", "-u", user, mount.point] if mount.kind == "lustre" else ["quota", "-w", "-u", user]
    unknown = Check("quota", f"not known: {line[0]} does not tell of {mount.point}; your site's own command may")
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, errors="replace", timeout=QUOTA_WAITS_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return unknown
    found = parse_quota(done.stdout, mount.point)
    if found is None:
        return unknown
    mend = "rm what is not needed, or --out of another file system" if found.full else ""
    return Check("quota", f"{found.words} on {mount.point}", mend)


def parse_quota(text: str, point: str) -> Quota | None:
    """Returns the quota on a file system from what ``quota -w`` or ``lfs quota`` printed; None where it has none.

    Args:
        text: The output: after the file system's name KiB used, quota, limit and grace, and the same of files.
        point: The folder the file system is mounted at. ``quota`` prints its device, and a single line is taken.
    """
    number, grace = r"\s+\[?(\d+)\*?\]?", r"(?:\s+(?:-|none|expired|\d+[dhms:]\S*|\d+days))?"
    row = rf"^\s*(\S+){number * 3}{grace}{number * 3}"
    rows = [found.groups() for found in re.finditer(row, text, re.MULTILINE)]
    chosen = [each for each in rows if each[0] == point] or (rows if len(rows) == 1 else [])
    if not chosen:
        return None
    used_kib, soft_kib, hard_kib, used_files, soft_files, hard_files = map(int, chosen[0][1:])
    return Quota(used_kib, soft_kib or hard_kib, used_files, soft_files or hard_files)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:,.1f} GiB"
