"""The processors of a rank: fewer than the cores that it sees, where a control group has a quota."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpc_adabatch.cluster import processors
from hpc_adabatch.cluster.processors import Share, share

V2 = "31 23 0:28 {top} /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n33 31 0:30 / /x rw - tmpfs x rw\n"
Machine = Callable[..., Share]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """machine(mounts, groups, {file: content}, ranks, cores): the share of one of the ranks there."""

    def look(mounts: str, groups: str, files: dict[str, str], ranks: int = 1, cores: int = 64) -> Share:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/mountinfo").write_text(mounts, encoding="utf-8")
        (tmp_path / "proc/self/cgroup").write_text(groups, encoding="utf-8")
        for name, content in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return share(lambda item: [item] * ranks, tmp_path)

    return look


@pytest.mark.parametrize(
    ("mounts", "groups", "files", "ranks", "threads"),
    [
        (V2.format(top="/"), "0::/\n", {"cpu.max": "200000 100000\n"}, 1, 2),  # a container with a view of its own
        (V2.format(top="/"), "0::/\n", {"cpu.max": "200000 100000\n"}, 2, 1),
        (V2.format(top="/"), "0::/\n", {"cpu.max": "max 100000\n"}, 4, 16),
        (V2.format(top="/"), "0::/\n", {}, 1, 64),  # the root group has no such file
        (V2.format(top="/"), "0::/\n", {"cpu.max": "50000 100000\n"}, 1, 1),
        (V2.format(top="/"), "0::/\n", {"cpu.max": "350000 100000\n"}, 1, 3),
        # a job's group with a quota, the step in it without one
        (V2.format(top="/"), "0::/job/step\n", {"job/cpu.max": "800000 100000", "job/step/cpu.max": "max 1"}, 2, 4),
        (V2.format(top="/"), "0::/job/step\n", {"job/cpu.max": "800000 100000", "job/step/cpu.max": "6 3"}, 1, 2),
        # Docker on v1, which shows the group of the container as the mount's root
        (
            V1.format(top="/docker/1f"),
            "4:memory:/docker/1f\n3:cpu,cpuacct:/docker/1f\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            1,
            3,
        ),
        (
            V1.format(top="/"),
            "3:cpu,cpuacct:/a\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"},
            1,
            64,
        ),
        (
            V2.format(top="/a/b"),
            "0::/../c\n",
            {"cpu.max": "400000 100000"},
            1,
            4,
        ),  # moved out of its container's groups
        ("", "", {}, 4, 16),  # no control groups
    ],
)
def test_threads_fit_into_the_quota(
    machine: Machine, mounts: str, groups: str, files: dict[str, str], ranks: int, threads: int
) -> None:
    assert machine(mounts, groups, files, ranks).threads == threads


def test_ranks_of_other_containers_have_quotas_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees its own group as /, with all cores of the node: 2 ranks of 2 containers with 4 processors each."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    roots = [tmp_path / name for name in ("one", "other")]
    for root in roots:
        (root / "proc/self").mkdir(parents=True)
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "proc/self/mountinfo").write_text(V2.format(top="/"), encoding="utf-8")
        (root / "proc/self/cgroup").write_text("0::/\n", encoding="utf-8")
        (root / "sys/fs/cgroup/cpu.max").write_text("400000 100000\n", encoding="utf-8")
    items: list[Any] = []

    def note(item: Any) -> list[Any]:
        items.append(item)
        return [item]

    for root in roots:
        share(note, root)
    found = share(lambda item: [item, item, items[1], items[1]], roots[0])
    assert (found.ranks, found.threads, found.limit.words) == (2, 2, "quota of 4 core(s)")


def test_this_machine_can_be_looked_at() -> None:
    assert 1 <= share(lambda item: [item]).threads <= len(processors.cores())
