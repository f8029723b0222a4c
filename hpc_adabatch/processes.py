"""A process, told apart from every other one on any host: process ids are given again, and containers have their own.

host      the name of its host
space     the boot of the host and the name space of its processes: within one, a process id is a process
started   and one that has the id of another, which has ended, was started later
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of this host, or of another one."""

    host: str
    """The name of its host."""
    space: str
    """The boot of the host and the name space of its processes, within which process ids tell processes apart."""
    pid: int
    """The process id."""
    started: str
    """The time of its start, in clock ticks since the boot; empty where the system does not tell."""

    @classmethod
    def this(cls) -> Process:
        """Returns the process that calls."""
        pid = os.getpid()
        return Process(host=socket.gethostname(), space=_space(), pid=pid, started=_started(pid))

    @property
    def key(self) -> str:
        """Returns letters that no other process has."""
        return hashlib.sha256(f"{self.host} {self.space} {self.pid} {self.started}".encode()).hexdigest()[:16]

    @property
    def is_here(self) -> bool:
        """Reports whether its process id means that process here."""
        return self.space == _space()

    @property
    def has_ended(self) -> bool | None:
        """Reports, where it is here, whether there is no such process any more; None where the system does not tell."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's
            pass
        started = _started(self.pid)
        return started != self.started if started else None

    def kill(self) -> None:
        """Ends it where it is here and still is that process, though it is frozen and takes no other signal."""
        if self.is_here and self.has_ended is False:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)


def _space() -> str:
    """Returns words that two processes share where each sees the other's process id; unique where nothing tells."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """Returns when a process started; empty where the system does not tell, ``ended`` of one that nobody waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]  # proc(5), state and starttime: the fields 3 and 22
