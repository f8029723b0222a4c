"""The thread that ends a rank. It ends the process, so each case is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FROZEN = """
import sys, time
from pathlib import Path
from hpc_adabatch.cluster.watchdog import Watchdog
def waits_for_a_peer():
    time.sleep(60)
dog = Watchdog(0.3, rank=3, note=Path(sys.argv[1]))
waits_for_a_peer()
"""
MOVING = """
import time
from types import SimpleNamespace
from hpc_adabatch.cluster import watchdog
now_s = 0.0
watchdog.time = SimpleNamespace(monotonic=lambda: now_s)  # a machine that stands still for a second ends nothing
dog = watchdog.Watchdog(1.0, rank=0)  # it looks 20 times a second
for _ in range(15):
    time.sleep(0.1)
    now_s += 0.9
    dog.beat()
dog.stop()
time.sleep(0.2)
now_s += 100.0
time.sleep(0.3)
idle = watchdog.Watchdog(None, rank=0)
time.sleep(0.3)
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", program, *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_a_rank_that_does_not_move_says_where_and_ends(tmp_path: Path) -> None:
    done = run(FROZEN, str(tmp_path / "stop"))
    assert done.returncode == 75
    assert (tmp_path / "stop").exists()
    assert "rank 3" in done.stderr
    assert "waits_for_a_peer" in done.stderr
    assert "--resume auto" in done.stderr


def test_a_rank_that_moves_is_left_alone_and_so_is_one_that_nobody_watches() -> None:
    done = run(MOVING)
    assert (done.returncode, done.stderr) == (0, "")
