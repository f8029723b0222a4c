"""Where output and data lie: file systems, quotas, and a folder that other nodes do not have."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.doctor.check import Check
from hpc_adabatch.doctor.storage import Mount, Quota, mount_of, parse_quota, quota, storage

MOUNTS = """\
22 27 0:21 / /proc rw,nosuid shared:13 - proc proc rw
27 1 253:0 / / rw,relatime shared:1 - xfs /dev/mapper/root rw,attr2,inode64
31 27 0:26 / /tmp rw,nosuid shared:4 - tmpfs tmpfs rw,size=264072748k
44 27 0:41 / /users rw,relatime shared:21 - nfs4 fs1:/export/home rw,vers=4.2,local_lock=none
45 27 0:42 / /scratch rw,relatime shared:22 - lustre 10.0.0.1@o2ib:10.0.0.2@o2ib:/scratch rw,flock,lazystatfs
46 45 0:42 /project /scratch/p\\040q rw,relatime shared:23 - lustre 10.0.0.1@o2ib:/scratch rw,noflock
47 27 0:43 / /gpfs rw - gpfs gpfs0 rw
48 44 0:44 / /users/alice/remote rw - fuse.sshfs host: rw
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/etc", "xfs at /"),
        ("/", "xfs at /"),
        ("/tmpx/a", "xfs at /"),
        ("/tmp", "memory (tmpfs) at /tmp"),
        ("/users/alice/runs", "NFS at /users"),
        ("/users/alice/remote/x", "fuse.sshfs at /users/alice/remote"),
        ("/scratch/alice", "Lustre at /scratch"),
        ("/scratch/p q/runs", "Lustre at /scratch/p q"),
        ("/gpfs/work", "Spectrum Scale (GPFS) at /gpfs"),
    ],
)
def test_the_file_system_of_a_path(machine: Path, path: str, words: str) -> None:
    assert mount_of(Path(path), machine).words == words


def test_a_file_system_that_is_not_told_is_said_to_be(tmp_path: Path) -> None:
    assert mount_of(Path("/etc"), tmp_path).words == "a file system that is not known at /"


def test_this_machines_own(tmp_path: Path) -> None:
    """df tells the same."""
    done = subprocess.run(["df", "--output=fstype,target", tmp_path], capture_output=True, text=True, check=True)
    kind, point = done.stdout.splitlines()[1].split()
    assert mount_of(tmp_path) == Mount(point, kind)


LFS = """\
Disk quotas for usr alice (uid 1001):
      Filesystem  kbytes   quota   limit   grace   files   quota   limit   grace
        /scratch 52428800  0 104857600       -   90000  100000  110000       -
uid 1001 is using default block quota setting
"""
LFS_LONG = """\
Disk quotas for usr alice (uid 1001):
      Filesystem  kbytes   quota   limit   grace   files   quota   limit   grace
/lustre/project/abc
                110000000* 104857600 115343360  6d23h59m59s       5       0       0       -
"""
NFS = """\
Disk quotas for user alice (uid 1001):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
fs1:/export/home 20971520* 20480000 25600000   6days    1234       0       0
"""
NONE = "Disk quotas for user alice (uid 1001): none\n"


@pytest.mark.parametrize(
    ("text", "point", "found", "words", "full"),
    [
        (
            LFS,
            "/scratch",
            Quota(52428800, 104857600, 90000, 100000),
            "50.0 GiB of 100.0 GiB, 90,000 of 100,000 files",
            False,
        ),
        (
            LFS_LONG,
            "/lustre/project/abc",
            Quota(110000000, 104857600, 5, 0),
            "104.9 GiB of 100.0 GiB, no limit of files",
            True,
        ),
        (NFS, "/home", Quota(20971520, 20480000, 1234, 0), "20.0 GiB of 19.5 GiB, no limit of files", True),
    ],
)
def test_quotas(text: str, point: str, found: Quota, words: str, full: bool) -> None:
    quota = parse_quota(text, point)
    assert quota == found
    assert (quota.words, quota.full) == (words, full)


def test_no_quota_or_that_of_another_file_system_is_none() -> None:
    assert parse_quota(NONE, "/home") is None
    assert parse_quota("", "/home") is None
    both = NFS + "fs2:/export/data 1 2 3 4 5 6\n"
    assert parse_quota(both, "/home") is None  # which of the two is not told


def test_the_command_is_that_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("lfs", LFS), ("quota", NONE)):
        (tmp_path / name).write_text(f"#!/bin/sh\ncat <<'.'\n{text}.\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert quota(Mount("/scratch", "lustre")).found.startswith("50.0 GiB of 100.0 GiB")
    assert quota(Mount("/home", "nfs4")).found.startswith("not known: quota does not tell of /home")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert quota(Mount("/scratch", "lustre")).found.startswith("not known: lfs does not tell of /scratch")


def looked(out: Path, recipe: Any = None) -> dict[str, Check]:
    return {check.what: check for check in storage(SingleProcess(), recipe, out)}


def test_the_output_need_not_exist_yet_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    found = looked(tmp_path / "a" / "b")
    assert found["output"].found.startswith(f"{tmp_path}: ")
    assert "files can be locked" in found["output"].found
    assert found["data"].found.startswith("not known: no recipe was given")
    assert "output is seen" not in found  # by other ranks, of which there are none
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    found = looked(tmp_path)["output"]
    assert "no locks (Function not implemented)" in found.found
    assert not found.mend  # studies do without


def test_a_folder_that_cannot_be_written_is_wrong() -> None:
    found = looked(Path("/proc/self"))["output"]
    assert "cannot be written" in found.found
    assert found.mend


@pytest.mark.parametrize(
    ("flags", "words", "wrong"),
    [
        (["--task=digits"], "the task needs no files", False),
        (["--task=cifar10", "--task.root={}"], "task.root {}: ", False),
        (["--task=cifar10", "--task.root={}/no"], "task.root {}/no: not there", True),
        (["--task=cifar10", "--task.root={}/no", "--task.download=true"], "training will download it", False),
        (["--task=text", "--task.train={}", "--task.test={}/no"], "task.test {}/no: not there", True),
    ],
)
def test_the_data_of_a_recipe(flags: list[str], words: str, wrong: bool, tmp_path: Path) -> None:
    line = [flag.format(tmp_path) for flag in ("--global_batch=16", *flags)]
    recipe = parse_recipe("doctor", ["recipes/quickstart.yaml", *line])[0]
    rows = [check for check in storage(SingleProcess(), recipe, tmp_path) if check.what == "data"]
    assert words.format(tmp_path) in rows[-1].found
    assert bool(rows[-1].mend) is wrong
