"""Processes that read for a rank: signals to all of a job do not end them; their rank does, and so does its death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

RANK = """
import os, sys, time
from multiprocessing import active_children
from torch.utils.data import Dataset, _utils
from hpc_adabatch.batches.workers import Chunks

class Slow(Dataset):
    def __len__(self): return 8
    def __getitem__(self, index):
        if index == 7 and "stuck" in sys.argv:
            time.sleep(1000)
        return index

_utils.MP_STATUS_CHECK_INTERVAL = 0.5  # a loader that is closed waits so long for its workers
chunks = iter(Chunks(Slow(), chunk=1, workers=1))
print(*(child.pid for child in active_children()), flush=True)
sys.stdin.readline()
print(*(int(next(chunks)[0]) for _ in range(7)), flush=True)
sys.stdin.readline()
del chunks
print("closed", len(active_children()), flush=True)
"""


@pytest.fixture
def rank(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-W", "ignore", "-c", RANK, *getattr(request, "param", [])]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def line_of(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout
    return process.stdout.readline().split()


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"{pid} is left behind"
        time.sleep(0.02)


def test_signals_to_the_whole_job_leave_the_workers_reading(rank: subprocess.Popen[str]) -> None:
    (worker,) = map(int, line_of(rank))
    for name in ("SIGTERM", "SIGINT", "SIGUSR2"):
        os.kill(worker, signal.Signals[name])
    say(rank)
    assert line_of(rank) == list("0123456")
    say(rank)
    assert line_of(rank) == ["closed", "0"]
    wait_until_gone(worker)


@pytest.mark.parametrize("rank", [["stuck"]], indirect=True)
def test_a_worker_that_is_stuck_ends_with_a_rank_that_was_killed(rank: subprocess.Popen[str]) -> None:
    (worker,) = map(int, line_of(rank))
    say(rank)
    assert line_of(rank) == list("0123456")
    rank.kill()
    rank.wait()
    wait_until_gone(worker)


@pytest.mark.parametrize("rank", [["stuck"]], indirect=True)
def test_a_worker_that_is_stuck_ends_when_its_rank_asks_for_it(rank: subprocess.Popen[str]) -> None:
    """As torch's loader and multiprocessing do, after they have waited: with SIGTERM, from the rank itself."""
    (worker,) = map(int, line_of(rank))
    say(rank)
    assert line_of(rank) == list("0123456")
    say(rank)
    assert line_of(rank) == ["closed", "0"]
    wait_until_gone(worker)
