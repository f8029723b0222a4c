"""A Slurm of one's own on this machine, for tests: real daemons, real jobs, as many nodes as wanted.

    with SlurmCluster(4, 2) as cluster:                                # ready in about a second
        job = cluster.sbatch("-N2", "--ntasks-per-node=1", "job.sbatch", "its argument", cwd=tmp_path)
        cluster.wait(job, "RUNNING")
        os.kill(cluster.rank_pid(job, 1), signal.SIGKILL)
        assert cluster.wait(job)["JobState"] == "FAILED", cluster.output(job)

It has its own folder, ports, munge key, sockets, control groups and network: a Slurm that is already there, or a second
test cluster, never notices. What the ends of jobs look like (Slurm 22.05 as configured in slurm_conf.py; s: seconds):

    what happens            JobState   Reason           ExitCode  when, and what else there is to see
    ----------------------  ---------  ---------------  --------  ----------------------------------------------------
    scancel                 CANCELLED  None             0:15 *    at once
    time limit, `expire`    TIMEOUT    TimeLimit        0:15 *    Slurm looks every 30 s: --time=1 ends after 60..90 s
    scontrol requeue        PENDING    BeginTime        0:0       at once, Restarts=1; runs after 11 s; 2 s by `hurry`
    preempted               PENDING    BeginTime        0:0       the same; the job of `high` runs after 0.1 s
     - ignoring SIGTERM     COMPLETING None             0:0       for 7 s (KillWait), then PENDING
     - grace_s=8            RUNNING    None             0:0       --signal at once; SIGTERM in 8..38 s, seen: 16 s
    rank killed, mpirun     FAILED     NonZeroExitCode  137:0     3 s; "rank 1 ... exited on signal 9 (Killed)"
    rank killed, srun -K1   FAILED     NonZeroExitCode  143:0     0.1 s; "srun: error: node1: task 1: Killed"
    rank killed, srun       FAILED     NonZeroExitCode  137:0     when the other ranks end, if they do
    memory, batch step      OUT_OF_MEMORY OutOfMemory   0:125     1 s; the script itself, mpirun's ranks on its node
     - in a step of srun    FAILED     NonZeroExitCode  script's  1 s; "task 0: Out Of Memory", "1 oom-kill event(s)"
     - mpirun, other nodes  FAILED     NonZeroExitCode  137:0     3 s; as a killed rank, no word of memory
    node lost (`power_off`) PENDING    BeginTime        0:0       25..30 s, Restarts=1; SIGTERM to ranks elsewhere
     - and --nodelist=it    PENDING    ReqNodeNotAvail,_UnavailableNodes:node4    until `power_on`
     - and --no-requeue     NODE_FAIL  NodeDown         0:0 *     25..30 s; or scontrol update ... State=DOWN: 0.1 s
    slurmd alone killed     as if the node were lost, but its ranks run on to their own end

    * what the signal leaves; a script that traps it ends with a code of its own, which is often 143:0 (of srun)

The log says DUE TO PREEMPTION, JOB REQUEUE, TIME LIMIT or NODE FAILURE, unless the script ends on its first signal. A
preempted job gets its --signal and, with grace_s=0, SIGTERM in the same second, by messages of which either may come
first. Where control groups of version 1 have no memory controller, out of memory is FAILED: JobLaunchFailure 0:9 in the
batch step, 137:0 in a step; "exceeded memory limit" in the log. There is no accounting: sacct exits 1.

srun --kill-on-bad-exit has SIGTERM sent to all nodes of a step. One that does not answer is sent it again after a
minute, by the numbers of job and step alone: if the job has been queued again meanwhile, it ends that step of its next
start.

Not here: what users do (submission.py), configuration (slurm_conf.py), processes (daemons.py), network (bridge.py).
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import memory_limits
from bridge import Bridge
from daemons import NODE, Daemon, NodeProcesses, program, variables
from slurm_conf import OPENMPI, Node, write, write_ssh
from submission import Slurm

PACKAGES = {  # program: Debian's package
    "munged": "munge",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "tc": "iproute2",
}
FOREIGN = re.compile(r"(SLURM|SBATCH|SRUN|SALLOC|SQUEUE|SCONTROL|SINFO|SACCT|OMPI_|PMIX|HOROVOD_|ADABATCH_)")
RANK = ("HOROVOD_RANK", "PMIX_RANK")  # of horovodrun --gloo; of srun --mpi=pmix and mpirun
STEP = {"SLURM_STEP_ID", "SLURM_PROCID"}  # of srun --mpi=none


def missing_packages() -> list[str]:
    """Debian packages that the test cluster needs and this machine lacks."""
    return sorted({package for name, package in PACKAGES.items() if not shutil.which(name, path=search_path())})


class SlurmCluster(Slurm):
    """munged, slurmctld and one slurmd per node, until `close`; all nodes are idle when the constructor returns.

    Args:
        n_nodes: node1, node2, ... of n_cpus each.
        gpus: further nodes {type: GPUs on each}, `n_gpu_nodes` of every type, called v100n1 and so on, with 288
            processors; their GPUs are on paper only: jobs are told their numbers.
        memory_per_cpu_mb: what a job gets per processor unless it asks (--mem).
        grace_s: at least so long between the --signal of a preempted job and its SIGTERM (main's GraceTime).
        namespaces: each node in a network namespace with an sshd, reached by ssh from the others.
        extra: lines at the end of slurm.conf; a repeated option overrides.

    Raises:
        RuntimeError: a daemon ended, or a node is not idle after a while; with the logs.
    """

    def __init__(
        self,
        n_nodes: int = 4,
        n_cpus: int = 2,
        *,
        gpus: Mapping[str, int] | None = None,
        n_gpu_nodes: int = 2,
        memory_per_cpu_mb: int = 2000,
        grace_s: int = 0,
        namespaces: bool = False,
        extra: str = "",
    ) -> None:
        # short: a socket's path has at most 108 characters
        folder = Path(tempfile.mkdtemp(prefix=f"slurm-{os.getpid()}-", dir="/tmp"))
        super().__init__(folder, environment(folder / "slurm.conf"))
        self._daemons: list[Daemon] = []
        self._claims = contextlib.ExitStack()  # of ports
        self._running: dict[str, NodeProcesses] = {}
        self.bridge: Bridge | None = None
        kinds = [(f"node{number + 1}", n_cpus, "", 0) for number in range(n_nodes)]
        for gpu, n_gpus in (gpus or {}).items():
            kinds += [(f"{gpu}n{number + 1}", 288, gpu, n_gpus) for number in range(n_gpu_nodes)]
        try:
            self.bridge = Bridge(len(kinds)) if namespaces else None
            self._configure(kinds, memory_per_cpu_mb, grace_s, extra)
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> SlurmCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends and removes everything; may be called again."""
        for name in list(self._running):
            self.power_off(name)
        for daemon in reversed(self._daemons):
            daemon.stop()
        self._daemons.clear()
        if self.bridge:
            self.bridge.close()
        self._claims.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self) -> list[int]:
        """All processes of the cluster, on the nodes too."""
        daemons = [daemon.process.pid for daemon in self._daemons]
        holders = [node.daemon.process.pid for node in self._running.values()]
        return daemons + holders + [pid for node in self._running.values() for pid in node.pids()]

    def power_off(self, name: str) -> None:
        """The node is gone at once, with all that runs on it."""
        self._running.pop(name).power_off()
        memory_limits.remove(self.folder, name)

    def power_on(self, name: str) -> None:
        """The node starts; Slurm sees it within a second."""
        number = list(self.nodes).index(name) + 1
        network = self.bridge.namespace(number) if self.bridge else None
        script = self.folder / f"{name}.sh"
        limits = memory_limits.script(self.folder, name)
        # what is timed over links of a known rate comes before all else on the machine, such as other tests
        priority = "renice -n -15 $$ >/dev/null\n" if self.bridge else ""
        text = NODE.format(name=name, folder=self.folder, openmpi=OPENMPI, memory_limits=limits, priority=priority)
        script.write_text(text, encoding="utf-8")
        self._running[name] = NodeProcesses(script, self.folder / "log" / f"{name}.out", self.environment, network)

    @contextlib.contextmanager
    def without_slurmd(self, name: str) -> Iterator[None]:
        """Inside, the node's slurmd is dead, and all else on the node lives."""
        held = self.folder / f"{name}.held"
        held.touch()
        self._running[name].kill("slurmd")
        try:
            yield
        finally:
            held.unlink()

    def rank_pid(self, job_id: int, rank: int, timeout_s: float = 30) -> int:
        """The process, by its number on the machine, that is a rank of the job, once it is there: for os.kill.

        Raises:
            TimeoutError: there is none.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for pid in (pid for node in self._running.values() for pid in node.pids()):
                found = variables(pid)
                shell = program(pid).startswith(("bash", "dash", "slurmstepd", "orted", "srun"))
                names = RANK if STEP - found.keys() or set(RANK) & found.keys() else ("SLURM_PROCID",)
                if found.get("SLURM_JOB_ID") == str(job_id) and str(rank) in map(found.get, names) and not shell:
                    return pid
            time.sleep(0.1)
        raise TimeoutError(f"no rank {rank} of job {job_id}: {self.job(job_id)}\n{self.output(job_id)}")

    @contextlib.contextmanager
    def links(self, rate_mbit: float) -> Iterator[None]:
        """Inside, every link between nodes carries at most so many Mbit/s each way; only with namespaces."""
        assert self.bridge, "links are limited between namespaces: SlurmCluster(namespaces=True)"
        self.bridge.set_rate(rate_mbit)
        try:
            yield
        finally:
            self.bridge.set_rate(None)

    def _configure(self, kinds: list[tuple[str, int, str, int]], memory_mb: int, grace_s: int, extra: str) -> None:
        self.folder.chmod(0o755)  # munge wants its socket in a folder that all may enter
        for name in ("log", "state", "spool", "local", "cgroup"):
            (self.folder / name).mkdir()
        port, *ports = free_ports(len(kinds) + 1, self._claims)
        self.nodes = {
            name: Node(
                name=name,
                address=self.bridge.address(number) if self.bridge else "127.0.0.1",
                port=ports[number - 1],
                n_cpus=n_cpus,
                memory_mb=n_cpus * memory_mb,
                gpu=gpu,
                n_gpus=n_gpus,
            )
            for number, (name, n_cpus, gpu, n_gpus) in enumerate(kinds, start=1)
        }
        address = self.bridge.controller if self.bridge else "127.0.0.1"
        write(
            self.folder,
            list(self.nodes.values()),
            address=address,
            port=port,
            memory_per_cpu_mb=memory_mb,
            grace_s=grace_s,
            extra=extra,
        )
        if self.bridge:
            write_ssh(self.folder, self.environment["PATH"])

    def _start(self) -> None:
        folder, log = self.folder, self.folder / "log"
        key = folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        options = [f"--{option}={folder / name}" for option, name in files.items()] + [f"--log-file={log}/munged.log"]
        munged = ["munged", "--foreground", "--force", "--num-threads=2", *options]
        self._daemons.append(Daemon(munged, log / "munged.out", self.environment))
        self._until((folder / "munge.socket").exists)
        slurmctld = ["slurmctld", "-D", "-f", str(folder / "slurm.conf")]
        self._daemons.append(Daemon(slurmctld, log / "slurmctld.out", self.environment))
        for name in self.nodes:
            self.power_on(name)
        self._until(self._idle)

    def _idle(self) -> bool:
        states = self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%T", code=None).stdout.split()
        return states == ["idle"] * len(self.nodes)

    def _until(self, ready: Callable[[], bool], timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not ready():
            every = [*self._daemons, *(node.daemon for node in self._running.values())]
            dead = [daemon.output.stem for daemon in every if not daemon.alive()]
            if dead or time.monotonic() > deadline:
                states = self.run("sinfo", "-N", "-o", "%n %T %E", code=None).stdout
                raise RuntimeError(f"the test cluster did not start; ended: {dead}\n{states}\n{self.logs()}")
            time.sleep(0.1)


def search_path() -> str:
    """This Python's programs first, and where Debian keeps daemons."""
    return f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(slurm_conf: Path) -> dict[str, str]:
    """For all commands and jobs: nothing of another Slurm or launcher, ranks of one thread, root may start them."""
    return {name: text for name, text in os.environ.items() if not FOREIGN.match(name)} | {
        "SLURM_CONF": str(slurm_conf),
        "PATH": search_path(),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def free_ports(n_ports: int, claims: contextlib.ExitStack) -> list[int]:
    """Ports that nobody listens on, below those that the kernel gives to connections.

    Daemons listen only seconds later. Until `claims` is closed, or this process ends, no other test cluster of this
    machine gets them: a socket without a file stands for each.
    """
    ports: list[int] = []
    while len(ports) < n_ports:
        port = random.randrange(20000, 32000)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0adabatch-test-cluster-{port}")
            with socket.socket() as listener:
                listener.bind(("", port))
        except OSError:
            claim.close()
            continue
        claims.enter_context(claim)
        ports.append(port)
    return ports
