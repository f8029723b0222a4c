"""How a process is told from others, and ended though it is frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from hpc_adabatch.processes import Process, _started


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def of(child: subprocess.Popen[bytes]) -> Process:
    return replace(Process.this(), pid=child.pid, started=_started(child.pid))


def test_a_process_has_letters_of_its_own(child: subprocess.Popen[bytes]) -> None:
    this, other = Process.this(), of(child)
    assert this.pid == os.getpid()
    assert this == Process.this()
    assert len({this.key, other.key, replace(other, started="1").key, replace(other, space="another boot").key}) == 4
    assert this.is_here
    assert this.has_ended is False


def test_a_frozen_process_is_ended(child: subprocess.Popen[bytes]) -> None:
    """Bug story: torchrun waited 30 s more for a rank that was frozen, and the others had long left."""
    frozen = of(child)
    child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)  # else the next signal may come first
    child.terminate()  # which it does not take
    frozen.kill()
    assert child.wait(timeout=30) == -signal.SIGKILL
    assert frozen.has_ended


@pytest.mark.parametrize("change", [{"space": "another container"}, {"started": "1"}])
def test_whoever_else_has_its_id_is_left_alone(change: dict[str, str], child: subprocess.Popen[bytes]) -> None:
    replace(of(child), **change).kill()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=0.3)
