"""A Python that has imported everything that ranks import, and forks a rank for each launcher's process that asks.

    pytest               starts   python.py SOCKET   one for each local rank: hash seeds differ, as those of ranks do
    mpirun, horovodrun   start    rank.py            asks its python.py, which forks the rank
    rank.py and python.py pass on signals to the rank, and its exit code to the launcher

The launcher is the real one, and so are the rank's environment, output, exit code, signals, MPI and end: only the
imports (2 to 4 seconds a rank) are not made again. Importing starts no MPI and no thread; that is checked.

python.py SOCKET OWNER        ends when the process OWNER, which is pytest, does
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = (
    "horovod.torch",
    "mpi4py",
    "scipy.stats",
    "sklearn.datasets",
    "matplotlib.pyplot",
    "PIL.Image",
    "rich.live",
)


@dataclass(frozen=True)
class Request:
    """The program that a launcher's process wants to run, and everything that belongs to such a process."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    outputs: list[int]
    """File descriptors for standard input, output and errors."""


def import_everything() -> None:
    import hpc_adabatch

    for module in pkgutil.walk_packages(hpc_adabatch.__path__, "hpc_adabatch."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)
    assert "mpi4py.MPI" not in sys.modules, "MPI is started by an import"
    n_threads = len(list(Path("/proc/self/task").iterdir()))
    assert n_threads == 1, f"{n_threads} threads: only one of them would be in a fork"
    gc.freeze()  # a fork's collector leaves these pages shared


def receive(connection: socket.socket) -> Request:
    """Reads the request that rank.py sends: its length, its text, and three file descriptors."""
    head, outputs, _, _ = socket.recv_fds(connection, 8, 3)
    text = b""
    while len(text) < int.from_bytes(head, "big"):
        text += connection.recv(1 << 20)
    return Request(outputs=outputs, **json.loads(text))


def fork_on_request(path: str, owner: str) -> Request:
    """Serves until the process `owner` is gone. Returns in each fork, with its request."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    awake, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ranks: dict[int, socket.socket] = {}  # by process id
    selector = selectors.DefaultSelector()
    for source in (listener, awake):
        selector.register(source, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        if not Path("/proc", owner).exists():
            for pid in ranks:
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
        for key, _ in selector.select(timeout=1):
            if key.fileobj is listener:
                connection, _ = listener.accept()
                request = receive(connection)
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for one in (selector, listener, awake, wake, connection, *ranks.values()):
                        one.close()
                    return request
                for output in request.outputs:
                    os.close(output)
                ranks[pid] = connection
                selector.register(connection, selectors.EVENT_READ, pid)
            elif key.fileobj is awake:
                awake.recv(4096)
                for pid, status in ended():
                    with contextlib.suppress(KeyError):
                        selector.unregister(ranks[pid])
                    with contextlib.suppress(OSError), ranks.pop(pid) as connection:
                        connection.sendall(status.to_bytes(2, "big"))
            elif key.data in ranks:
                numbers = ranks[key.data].recv(64)  # of signals that the launcher sent
                if not numbers:  # the launcher's process was killed
                    selector.unregister(key.fileobj)
                for number in numbers or [signal.SIGKILL]:
                    os.kill(key.data, number)


def ended() -> list[tuple[int, int]]:
    """The forks that have ended, with their statuses."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(one)
    return found


def become(request: Request) -> None:
    """Makes this process what the launcher would have started."""
    for number, output in enumerate(request.outputs):
        os.dup2(output, number)
        os.close(output)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    import numpy as np

    np.random.seed()  # as unforeseeable as in a new process


def run(arguments: list[str]) -> None:
    """Runs the program as `python ARGUMENTS` does."""
    if arguments[0] == "-m":
        sys.argv, sys.path[0] = arguments[1:], str(Path.cwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = arguments, str(Path(arguments[0]).parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    import_everything()
    asked = fork_on_request(*sys.argv[1:])
    become(asked)
    run(asked.arguments)
