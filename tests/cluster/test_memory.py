"""The memory of this node: what is free, or the limit of a control group, of version 1 and 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_adabatch.cluster.memory import available_bytes, check_memory, left_bytes
from hpc_adabatch.errors import InputError

V2 = "30 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
V1 = "31 1 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


def node(root: Path, mount: str, groups: str, limits: dict[str, str]) -> Path:
    files = {"proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n", "proc/self/cgroup": groups}
    files |= {"proc/self/mountinfo": mount} | {f"sys/fs/cgroup/{name}": text for name, text in limits.items()}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n" if text else "", encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("mount", "groups", "limits", "found"),
    [
        (V2, "0::/job", {"job/memory.max": "max"}, 8_192_000_000),
        (V2, "0::/job/step", {"job/memory.max": "1000000", "job/step/memory.max": "max"}, 1_000_000),
        (V1, "5:memory:/job", {"memory/job/memory.limit_in_bytes": "2000000"}, 2_000_000),
        (V1, "5:memory:/job", {"memory/job/memory.limit_in_bytes": "9223372036854771712"}, 8_192_000_000),
        ("", "", {}, 8_192_000_000),
    ],
)
def test_the_smallest_holds(mount: str, groups: str, limits: dict[str, str], found: int, tmp_path: Path) -> None:
    assert available_bytes(node(tmp_path, mount, groups, limits)) == found


STAT = "anon 300\ninactive_file 200\nslab 7"


@pytest.mark.parametrize(
    ("mount", "groups", "files", "found"),
    [
        (V2, "0::/job", {"job/memory.max": "max", "job/memory.current": "9000"}, 8_192_000_000),
        (V2, "0::/job", {"job/memory.max": "1000", "job/memory.current": "700", "job/memory.stat": STAT}, 500),
        (V2, "0::/job", {"job/memory.max": "1000", "job/memory.current": "1100"}, 0),
        (
            V1,
            "5:memory:/job",
            {
                "memory/job/memory.limit_in_bytes": "1000",
                "memory/job/memory.usage_in_bytes": "700",
                "memory/job/memory.stat": f"{STAT}\ntotal_inactive_file 250",
            },
            550,
        ),
        ("", "", {}, 8_192_000_000),
    ],
)
def test_what_is_left_is_less_by_what_is_used_but_for_files(
    mount: str, groups: str, files: dict[str, str], found: int, tmp_path: Path
) -> None:
    assert left_bytes(node(tmp_path, mount, groups, files)) == found
    assert left_bytes(tmp_path / "nothing") is None


def test_where_nothing_tells_it_nothing_is_refused(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None
    assert (available_bytes() or 0) > 10**6
    check_memory("samples", 3, 10**6, "--samples 2")
    with pytest.raises(InputError, match=r"^samples: given 3, which takes 1,000,000.0 GB .*; type --samples 2$"):
        check_memory("samples", 3, 10**15, "--samples 2")
