"""The processes of the test cluster: munged, slurmctld, and for each node a container-like world with its slurmd.

    test process
      +- munged, slurmctld
      +- unshare --mount --uts --pid         one per node, in the node's network namespace where it has one
           +- bash, process 1 of the node    own host name, /run, /dev/shm, /etc/hosts, /etc/ssh
                +- slurmd -- slurmstepd -- batch script, ranks
                +- sshd

To the kernel a node is a process namespace: with its process 1 ends all that ever ran on it, as in a power cut, and its
mounts are gone. All of it ends with the thread that started it, however that ends: start a cluster in the main thread.

Not here: what the daemons are told (slurm_conf.py).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

NODE = """\
set -e
hostname {name}
{priority}mount -t tmpfs tmpfs {folder}/local
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
{memory_limits}mount --bind {folder}/hosts /etc/hosts
[ ! -e {openmpi} ] || mount --bind {folder}/openmpi.conf {openmpi}
if [ -d {folder}/ssh ]; then
    mkdir -m 755 /run/sshd
    mount --bind {folder}/ssh /etc/ssh
    [ ! -d ~/.ssh ] || mount -t tmpfs tmpfs ~/.ssh
    $(command -v sshd) -D -e 2>>{folder}/log/sshd.{name}.log &
fi
rm -rf {folder}/spool/{name} # what it knew of its jobs: a node without a disk
while :; do # the node outlives its slurmd
    slurmd -D -N {name} -f {folder}/slurm.conf || true
    while [ -e {folder}/{name}.held ]; do sleep 0.2; done
done &
trap : TERM
while :; do wait; done # and adopts orphans
"""


class Daemon:
    """A process that ends when this one does; what it prints goes to the file `output`."""

    def __init__(self, command: Sequence[str], output: Path, environment: Mapping[str, str]) -> None:
        self.output = output
        with output.open("ab") as file:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
            )

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, timeout_s: float = 10) -> None:
        """SIGTERM; SIGKILL to what does not listen."""
        self.process.terminate()
        try:
            self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class NodeProcesses:
    """All that runs on one node, in the network namespace `network` or in the machine's."""

    def __init__(self, script: Path, output: Path, environment: Mapping[str, str], network: str | None) -> None:
        enter = ["nsenter", f"--net=/run/netns/{network}"] if network else []
        unshare = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.daemon = Daemon([*enter, *unshare, "bash", str(script)], output, environment)

    def first(self) -> int | None:
        """Process 1 of the node, by its number on the machine."""
        children = Path(f"/proc/{self.daemon.process.pid}/task/{self.daemon.process.pid}/children")
        with contextlib.suppress(OSError):
            return next(map(int, children.read_text(encoding="ascii").split()), None)
        return None

    def pids(self) -> list[int]:
        """All processes of the node, by their numbers on the machine, oldest first."""
        first = self.first()
        space = process_namespace(first) if first else None
        return sorted(pid for pid in every_pid() if process_namespace(pid) == space) if space else []

    def kill(self, name: str) -> None:
        """Ends every process of the node whose program has a name that begins so, and nothing else."""
        for pid in self.pids():
            if program(pid).startswith(name):  # Debian's are called slurmd-wlm
                os.kill(pid, signal.SIGKILL)

    def power_off(self) -> None:
        """Returns when nothing of the node is left."""
        first = self.first()
        if first:  # which goes last, after all others of the node; unshare waits for it
            with contextlib.suppress(ProcessLookupError):
                os.kill(first, signal.SIGKILL)
        self.daemon.stop()


def every_pid() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def process_namespace(pid: int) -> str | None:
    """None for a process that is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def program(pid: int) -> str:
    """The name of the program that a process runs; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def variables(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty when it is gone."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
