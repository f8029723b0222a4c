"""The test cluster is a Slurm: ranks meet across nodes, jobs end in every way, and nothing of it stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bridge
import memory_limits
import pytest
from cluster import SlurmCluster, free_ports
from PIL import Image

pytestmark = pytest.mark.slurm
PROGRAM = Path(__file__).parent / "programs" / "allreduce.py"
NODE_MEMORY = Path(__file__).parents[1] / "launch" / "programs" / "node_memory.py"
SLEEP_ONCE = '[ -n "${SLURM_RESTART_COUNT:-}" ] || sleep 300'
GREEDY = (
    f"{sys.executable} -c 'x = bytearray(600_000_000); x[::4096] = bytes(len(x[::4096])); import time; time.sleep(60)'"
)
MEGABYTES = 20


def allreduce(cluster: SlurmCluster, launcher: str, folder: Path) -> list[dict[str, object]]:
    """What the two ranks of a job on two nodes found, in rank order."""
    line = f"{launcher} {sys.executable} {PROGRAM} {MEGABYTES} {folder}"
    job = cluster.sbatch("--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--wrap", line, cwd=folder)
    cluster.wait(job, "COMPLETED", timeout_s=120)
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("rank*.json"))]


def assert_met(ranks: list[dict[str, object]]) -> None:
    assert [rank["rank"] for rank in ranks] == [0, 1]
    assert [rank["sum"] for rank in ranks] == [[3.0], [3.0]]
    assert len({rank["host"] for rank in ranks}) == 2


@pytest.fixture(scope="module")
def slow_ends(cluster: SlurmCluster) -> dict[str, int]:
    """Slurm looks for these every half minute: begun with the first test, looked at by the last."""
    jobs = {
        "expired": cluster.sbatch("--nodelist=node3", "--wrap", SLEEP_ONCE),
        "lost": cluster.sbatch("--nodelist=node4", "--ntasks=1", "--wrap", SLEEP_ONCE),
        "lost for good": cluster.sbatch("--nodelist=node4", "--ntasks=1", "--no-requeue", "--wrap", SLEEP_ONCE),
    }
    for job in jobs.values():
        cluster.wait(job, "RUNNING")
    cluster.expire(jobs["expired"])
    cluster.power_off("node4")
    return jobs


@pytest.mark.usefixtures("slow_ends")
def test_tasks_start_on_the_nodes(cluster: SlurmCluster) -> None:
    assert sorted(cluster.run("srun", "-N2", "-n2", "hostname").stdout.split()) == ["node1", "node2"]


@pytest.mark.parametrize("launcher", ["srun --mpi=pmix", "mpirun"])
def test_ranks_meet_across_nodes(cluster: SlurmCluster, launcher: str, tmp_path: Path) -> None:
    assert_met(allreduce(cluster, launcher, tmp_path))


@pytest.mark.parametrize("launcher", ["srun --mpi=pmix", "mpirun"])
def test_the_ranks_of_each_node_have_one_copy_of_decoded_images(
    cluster: SlurmCluster, launcher: str, tmp_path: Path
) -> None:
    """Nodes tell each other their images; ranks of one node do not."""
    for part in ("train", "val"):
        for name in ("0", "1", "2"):
            (tmp_path / part / name).mkdir(parents=True)
            for grey in range(5):
                Image.new("RGB", (8, 8), (grey, 99, int(name))).save(tmp_path / part / name / f"{grey}.png")
    line = f"{launcher} {sys.executable} {NODE_MEMORY} {tmp_path} job"
    job = cluster.sbatch("--nodes=2", "--ntasks=4", "--ntasks-per-node=2", "--wrap", line, cwd=tmp_path)
    cluster.wait(job, "COMPLETED", timeout_s=240)
    assert cluster.output(job).count("one picture") == 4


def test_a_job_completes_and_its_output_and_name_are_read(cluster: SlurmCluster, tmp_path: Path) -> None:
    job = cluster.sbatch("--job-name=a b=c", "--wrap", "echo done; hostname", cwd=tmp_path)
    fields = cluster.wait(job)
    assert (fields["JobState"], fields["ExitCode"], fields["JobName"]) == ("COMPLETED", "0:0", "a b=c")
    assert cluster.output(job).split() == ["done", fields["NodeList"]]
    assert fields["WorkDir"] == str(tmp_path)


def test_a_job_is_cancelled(cluster: SlurmCluster) -> None:
    job = cluster.sbatch("--wrap", "sleep 300")
    cluster.wait(job, "RUNNING")
    cluster.run("scancel", job)
    assert cluster.wait(job)["JobState"] == "CANCELLED"


@pytest.mark.parametrize(
    ("step", "code"), [("srun --kill-on-bad-exit=1 -n2 sleep 300", "143:0"), ("mpirun -np 2 sleep 300", "137:0")]
)
def test_a_rank_is_killed(cluster: SlurmCluster, step: str, code: str) -> None:
    job = cluster.sbatch("-N2", "--ntasks-per-node=1", "--wrap", f"{step}; exit $?")
    cluster.wait(job, "RUNNING")
    os.kill(cluster.rank_pid(job, 1), signal.SIGKILL)
    fields = cluster.wait(job)
    assert (fields["JobState"], fields["ExitCode"]) == ("FAILED", code)


def test_a_job_outgrows_its_memory(cluster: SlurmCluster) -> None:
    """In the batch step (mpirun's first node, a plain command) the job says so; in a step of srun only srun does."""
    plain = cluster.sbatch("--mem=300", "--wrap", GREEDY)
    step = cluster.sbatch("--mem=300", "--wrap", f"srun {GREEDY}; exit $?")
    kind = "OUT_OF_MEMORY" if memory_limits.constrained() else "FAILED"
    assert cluster.wait(plain)["JobState"] == kind
    assert cluster.wait(step)["JobState"] == "FAILED"
    assert ("Out Of Memory" if memory_limits.constrained() else "exceeded memory limit") in cluster.output(step)


def test_two_clusters_that_start_at_once_have_no_port_in_common() -> None:
    with contextlib.ExitStack() as claims, contextlib.ExitStack() as others:
        assert not set(free_ports(300, claims)) & set(free_ports(300, others))


def test_a_job_is_requeued_by_hand(cluster: SlurmCluster) -> None:
    job = cluster.sbatch("--wrap", SLEEP_ONCE)
    cluster.wait(job, "RUNNING")
    cluster.run("scontrol", "requeue", job)
    assert cluster.wait(job, "PENDING")["Restarts"] == "1"
    cluster.hurry(job)
    fields = cluster.wait(job, "COMPLETED")
    assert (fields["JobId"], fields["Restarts"]) == (str(job), "1")


def test_a_job_is_preempted_and_comes_back(cluster: SlurmCluster) -> None:
    # SIGTERM may come first: it lives until SIGKILL
    sleeps = "{ (trap '' TERM; exec sleep 300) & wait; wait; wait; }"
    script = "trap 'echo told' USR2; trap : TERM; echo ready; " + SLEEP_ONCE.replace("sleep 300", sleeps)
    low = cluster.sbatch("-w", "node2", "--exclusive", "--signal=B:USR2@60", "--open-mode=append", "--wrap", script)
    cluster.wait(low, "RUNNING")
    cluster.until_it_says(low, "ready")
    high = cluster.sbatch("-w", "node2", "--exclusive", "--partition=high", "--wrap", "sleep 1")
    assert cluster.wait(high)["JobState"] == "COMPLETED"
    assert cluster.wait(low, {"PENDING", "COMPLETED"})["Restarts"] == "1"
    assert cluster.wait(low)["JobState"] == "COMPLETED"
    assert "told" in cluster.output(low)
    assert "DUE TO PREEMPTION" in cluster.output(low)


def test_slow_ends(cluster: SlurmCluster, slow_ends: dict[str, int]) -> None:
    expired = cluster.wait(slow_ends["expired"], timeout_s=90)
    assert (expired["JobState"], expired["Reason"]) == ("TIMEOUT", "TimeLimit")
    assert cluster.wait(slow_ends["lost for good"], timeout_s=90)["JobState"] == "NODE_FAIL"
    assert cluster.wait(slow_ends["lost"], "PENDING")["Restarts"] == "1"
    cluster.power_on("node4")
    assert cluster.wait(slow_ends["lost"])["JobState"] == "COMPLETED"


def test_gpus_on_paper(make_cluster: Callable[..., SlurmCluster]) -> None:
    one = make_cluster(1, gpus={"p100": 4, "v100": 4, "a100": 8, "h100": 8})
    for gpu in ("p100:4", "v100:4", "a100:8", "h100:8"):
        one.run("sbatch", "--test-only", "--nodes=2", f"--gres=gpu:{gpu}", "--cpus-per-task=10", "--wrap", "true")
    refused = one.run("sbatch", "--test-only", "--gres=gpu:v100:5", "--wrap", "true", code=1)
    assert "configuration is not available" in refused.stderr


def test_two_clusters_at_once(cluster: SlurmCluster, make_cluster: Callable[..., SlurmCluster]) -> None:
    other = make_cluster(1)
    first = other.sbatch("--wrap", "true")
    assert other.wait(first)["JobState"] == "COMPLETED"
    assert cluster.job(first)["SubmitTime"] != other.job(first)["SubmitTime"]
    assert not set(cluster.pids()) & set(other.pids())
    other.close()
    assert cluster.run("srun", "hostname").stdout.startswith("node")


def test_nothing_stays_behind(make_cluster: Callable[..., SlurmCluster]) -> None:
    one = make_cluster(2, namespaces=True)
    assert one.bridge
    job = one.sbatch("-N2", "--wrap", "srun sleep 300")
    one.wait(job, "RUNNING")
    pids, prefix = one.pids(), one.bridge.prefix
    assert len(pids) > 10
    assert prefix in bridge.present()
    one.close()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert prefix not in bridge.present()
    assert str(one.folder) not in Path("/proc/self/mounts").read_text(encoding="utf-8")
    assert not one.folder.exists()
    assert not memory_limits.group(one.folder, "node1").exists()


def test_a_cluster_that_does_not_start_says_why_and_leaves_nothing(make_cluster: Callable[..., SlurmCluster]) -> None:
    def mine() -> tuple[set[str], set[Path]]:  # other processes have clusters of their own
        pid = os.getpid()
        networks = {prefix for prefix in bridge.present() if prefix.startswith(f"ab{pid}-")}
        return networks, set(Path("/tmp").glob(f"slurm-{pid}-*"))

    before = mine()
    with pytest.raises(RuntimeError, match="unrecognized key: Nonsense"):
        make_cluster(1, namespaces=True, extra="Nonsense=1\n")
    assert mine() == before


@pytest.mark.usefixtures("make_cluster")  # for what it requires
def test_the_network_of_a_killed_process_is_removed_by_the_next() -> None:
    program = "import bridge, os; b = bridge.Bridge(1); print(b.prefix, flush=True); os.kill(os.getpid(), 9)"
    killed = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert killed.stdout.strip() in bridge.present()
    bridge.Bridge(1).close()
    assert killed.stdout.strip() not in bridge.present()


def test_a_slow_link_slows_an_allreduce(namespaced_cluster: SlurmCluster, tmp_path: Path) -> None:
    """Two ranks exchange as many bytes each way as the vector has."""
    folders = [tmp_path / name for name in ("free", "slow")]
    for folder in folders:
        folder.mkdir()
    free = allreduce(namespaced_cluster, "srun --mpi=pmix", folders[0])
    with namespaced_cluster.links(200):
        slow = allreduce(namespaced_cluster, "srun --mpi=pmix", folders[1])
    assert_met(free)
    assert_met(slow)
    seconds = [max(float(str(rank["time_s"])) for rank in ranks) for ranks in (free, slow)]
    assert seconds[1] > 0.9 * MEGABYTES * 8 / 200
    assert seconds[1] > 1.5 * seconds[0]


@pytest.mark.parametrize("how", ["--gloo", "--mpi"])
def test_horovodrun_reaches_the_nodes_by_ssh(namespaced_cluster: SlurmCluster, how: str, tmp_path: Path) -> None:
    assert_met(allreduce(namespaced_cluster, f"horovodrun -np 2 -H node1:1,node2:1 {how}", tmp_path))
