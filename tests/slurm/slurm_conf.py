"""The files that Slurm, PMIx, Open MPI and ssh read on the test cluster.

    slurm.conf      daemons, nodes, the partitions `main` and `high`
    gres.conf       GPUs that exist on paper only: for `sbatch --test-only` and for jobs that do not touch them
    cgroup.conf     memory and nothing else is constrained, where this machine can (memory_limits.py)
    mpi.conf        PMIx keeps its sockets in a folder that every node has for itself
    openmpi.conf    the same for Open MPI's session folders; ranks give way where they outnumber the cores
    hosts           node1, node2, ... for the programs on the nodes
    ssh/            one key that opens all nodes and nothing else

Not here: starting the daemons (daemons.py), links between the nodes (bridge.py).
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import memory_limits

CREDENTIAL_S = 10  # how long a requeued job waits before it starts again (Slurm's default is 120)
KILL_WAIT_S = 5
MOST_GPUS = 16  # on one node
NULL = os.makedev(1, 3)
OPENMPI = Path("/etc/openmpi/openmpi-mca-params.conf")
SLURM = """\
ClusterName=adabatch
SlurmctldHost={machine}({address})
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={credential_s}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
SlurmctldDebug=verbose
SlurmdDebug=verbose
MpiDefault=pmix
ProctrackType=proctrack/linuxproc
SwitchType=switch/none
MailProg=/bin/true
# a node may have more processors, memory and GPUs than the machine; one that comes back is used again
SlurmdParameters=config_overrides
ReturnToService=2
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU={memory_per_cpu_mb}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
{memory_limits}AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed
# clusters that run at once on one machine share its shared memory, where Open MPI names segments by node, user and job
FirstJobId={first_job_id}
# decisions within a second or two; finished jobs are remembered for an hour
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0
KillWait={kill_wait_s}
MinJobAge=3600
SlurmdTimeout=10
SlurmctldTimeout=30
MessageTimeout=10
# high preempts main: the job's own --signal, {grace_s} s or more, SIGTERM, KillWait, SIGKILL, back in the queue
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
PartitionName=DEFAULT State=UP MaxTime=24:00:00 DefaultTime=00:10:00 OverSubscribe=NO Nodes=ALL
PartitionName=main Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace_s}
PartitionName=high PriorityTier=10 PreemptMode=OFF
"""
SSH = """\
Host *
    IdentityFile /etc/ssh/key
    IdentitiesOnly yes
    BatchMode yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""
SSHD = """\
HostKey /etc/ssh/key
AuthorizedKeysFile /etc/ssh/key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
MaxStartups 100
SetEnv PATH="{path}" SLURM_CONF={folder}/slurm.conf
"""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node, as slurm.conf describes it."""

    name: str
    address: str
    port: int
    n_cpus: int
    memory_mb: int
    gpu: str = ""
    """Type, such as v100; empty for none."""
    n_gpus: int = 0

    def slurm(self) -> str:
        gpus = f" Gres=gpu:{self.gpu}:{self.n_gpus} Feature={self.gpu} Weight=10" if self.gpu else ""
        return (
            f"NodeName={self.name} NodeHostname={self.name} NodeAddr={self.address} Port={self.port} "
            f"CPUs={self.n_cpus} RealMemory={self.memory_mb}{gpus}\n"
        )

    def gres(self, folder: Path) -> str:
        return f"NodeName={self.name} Name=gpu Type={self.gpu} File={folder}/gpu[1-{self.n_gpus}]\n" if self.gpu else ""


def write(
    folder: Path, nodes: Sequence[Node], *, address: str, port: int, memory_per_cpu_mb: int, grace_s: int, extra: str
) -> None:
    """All but ssh/. `address` and `port` are slurmctld's; `extra` is added to slurm.conf."""
    machine = socket.gethostname()
    slurm = SLURM.format(
        folder=folder,
        machine=machine,
        address=address,
        port=port,
        first_job_id=1 + 1000 * os.getpid() % 60_000_000,
        memory_per_cpu_mb=memory_per_cpu_mb,
        memory_limits=memory_limits.slurm_conf(),
        credential_s=CREDENTIAL_S,
        kill_wait_s=KILL_WAIT_S,
        grace_s=grace_s,
    )
    site = OPENMPI.read_text(encoding="utf-8") if OPENMPI.exists() else ""
    own = f"orte_tmpdir_base={folder}/local\nmpi_yield_when_idle=1\nrmaps_base_oversubscribe=1\n"
    if all(node.address.startswith("127.") for node in nodes):  # another cluster's bridge comes and goes meanwhile
        own += "btl_tcp_if_include=127.0.0.0/8\noob_tcp_if_include=127.0.0.0/8\n"
    hosts = [("127.0.0.1", "localhost"), (address, machine), *((node.address, node.name) for node in nodes)]
    files = {
        "slurm.conf": slurm + "".join(node.slurm() for node in nodes) + extra,
        "gres.conf": "AutoDetect=off\n" + "".join(node.gres(folder) for node in nodes),
        "cgroup.conf": memory_limits.cgroup_conf(folder),
        "mpi.conf": f"PMIxCliTmpDirBase={folder}/local\n",
        "openmpi.conf": f"{site}\n{own}",
        "hosts": "".join(f"{number} {name}\n" for number, name in hosts),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    for number in range(1, MOST_GPUS + 1):  # Slurm tells jobs the numbers of devices alone: each is another /dev/null
        os.mknod(folder / f"gpu{number}", stat.S_IFCHR | 0o666, NULL)


def write_ssh(folder: Path, path: str) -> None:
    """What stands for /etc/ssh on every node."""
    ssh = folder / "ssh"
    ssh.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ssh / "key")], check=True)
    (ssh / "ssh_config").write_text(SSH, encoding="utf-8")
    (ssh / "sshd_config").write_text(SSHD.format(path=path, folder=folder), encoding="utf-8")
