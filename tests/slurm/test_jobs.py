"""The templates on a real Slurm: they train as by hand, and whatever ends a job, the next one goes on exactly."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from cluster import SlurmCluster
from conftest import require

from hpc_adabatch.training import journal

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "quickstart.yaml"
TEMPLATE = ROOT / "slurm" / "cpu.sbatch"
SHORT = ["--epochs=2", "--journal_every=1"]
LONG = ["--epochs=14", "--journal_every=1", "--policy=fixed", "--global_batch=16", "--optimizer.lr=0.01"]
ENGINES = pytest.mark.parametrize(("mpi", "engine"), [("", "horovod"), ("none", "torch")])  # srun's plugin
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


def submit(
    cluster: SlurmCluster,
    folder: Path,
    *flags: str,
    sbatch: tuple[str, ...] = (),
    launcher: str = "srun",
    mpi: str = "",
) -> int:
    """Submits the template as it stands; its output and the run go to the folder."""
    exported = f"--export=ALL,ADABATCH_HOME={ROOT},ADABATCH_LAUNCHER={launcher},MPI_TYPE={mpi}"
    where = [f"--chdir={folder}", exported, "--job-name=test"]
    return cluster.sbatch(*where, *sbatch, TEMPLATE, RECIPE, *flags, f"--out={folder / 'run'}")


def by_hand(folder: Path, ranks: int, *flags: str) -> Path:
    """The same recipe through launch/run on this machine."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    line = [ROOT / "launch" / "run", "-n", ranks, "adabatch", "train", RECIPE, *flags, "--out", folder / "run"]
    done = subprocess.run(
        list(map(str, line)), env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoint" / "last.pt", weights_only=True)["training"]["model"]


def output(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*.out"))


def records(run: Path) -> list[dict[str, Any]]:
    path = run / "journal.jsonl"
    return journal.read(path) if path.exists() else []


def assert_same(found: Path, reference: Path) -> None:
    """Bitwise equal weights; every step once, with the same loss at the same sample."""
    a, b = weights(found), weights(reference)
    for name in b:
        assert torch.equal(a[name], b[name]), name
    kept = ("step", "cursor", "loss", "global_batch")
    lines = [[[r[k] for k in kept] for r in records(run) if r["kind"] == "statistics"] for run in (found, reference)]
    assert lines[0] == lines[1]


@pytest.fixture(scope="module")
def short_by_hand(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {ranks: by_hand(tmp_path_factory.mktemp(f"hand{ranks}"), ranks, *SHORT) for ranks in (2, 4)}


@pytest.mark.parametrize(("nodes", "launcher"), [(2, "srun"), (4, "srun"), (2, "mpirun"), (4, "mpirun")])
def test_the_cpu_template_trains_as_by_hand(
    nodes: int, launcher: str, cluster: SlurmCluster, short_by_hand: dict[int, Path], tmp_path: Path
) -> None:
    job = submit(cluster, tmp_path, *SHORT, sbatch=(f"--nodes={nodes}",), launcher=launcher)
    assert cluster.wait(job, ENDED, 150)["JobState"] == "COMPLETED", output(tmp_path)
    start = records(tmp_path / "run")[0]
    assert (start["world_size"], start["launcher"]) == (nodes, launcher)
    same_run(tmp_path / "run", short_by_hand[nodes], exact=nodes == 2)


def test_what_init_says_to_type_trains(cluster: SlurmCluster, tmp_path: Path) -> None:
    """From a script that the cluster takes to ours: the three commands as they are printed, a training of one epoch."""
    asked = "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=1 --cpus-per-task=1 --time=10\n"
    (tmp_path / "older.sh").write_text(f"#!/bin/bash\n{asked}srun hostname\n", encoding="utf-8")
    words = ["init", "mine", "--from", "older.sh", "--task", "digits"]
    said = cluster.run(sys.executable, "-m", "hpc_adabatch", *words, cwd=tmp_path).stdout
    plan, doctor, train = (line.partition("   #")[0].strip() for line in said.splitlines()[-3:])

    def typed(line: str) -> str:
        path = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
        return cluster.run("env", path, "bash", "-c", line, cwd=tmp_path / "mine").stdout

    assert "1044 updates over 30 epochs" in typed(plan)
    looked, trained = (int(re.findall(r"\d+", typed(line))[-1]) for line in (doctor, f"{train} --epochs=1"))
    cluster.wait(looked, ENDED, 150)
    assert re.search(r"ok +ranks +2 on 2 nodes", output(tmp_path / "mine"))
    assert cluster.wait(trained, ENDED, 150)["JobState"] == "COMPLETED", output(tmp_path / "mine")
    result = json.loads((tmp_path / "mine" / "runs" / f"recipe-{trained}" / "result.json").read_text(encoding="utf-8"))
    assert (result["world_size"], result["epochs"]) == (2, 1)


def test_doctor_tells_of_the_job_and_of_a_folder_that_each_node_has_for_itself(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    exported = f"--export=ALL,ADABATCH_HOME={ROOT}"
    where = (f"--chdir={tmp_path}", exported, "--nodes=2", "--time=0:20:0")
    job = cluster.sbatch(*where, TEMPLATE, "doctor", RECIPE, f"--out={cluster.folder / 'local'}")
    assert cluster.wait(job, ENDED, 150)["ExitCode"] == "1:0", output(tmp_path)
    said = output(tmp_path)
    for row in (
        "ok +launched by +srun$",
        "ok +engine +Horovod$",
        "ok +PMI +PMIx$",
        "ok +MPI +Open MPI .*, reaches 2 of 2",
        "ok +ranks +2 on 2 nodes, 1 on each: node[1-4], node[1-4]$",
        "ok +binding +ranks? [01-]+: .*, NUMA",
        "ok +data +the task needs no files$",
        "wrong +output is seen +no: .*1 of 2 ranks",
        rf"ok +time left +0 h 1\d min of job {job}, start 1$",
        "ok +signal +USR2 to the batch script 120 s before the end$",
    ):
        assert re.search(f"^{row}", said, re.MULTILINE), (row, said)


CRASHES_ONCE = """
import os, signal
from dataclasses import dataclass
from hpc_adabatch.tasks.digits import Digits

@dataclass(frozen=True, kw_only=True)
class CrashesOnce(Digits):
    marker: str

    def load(self, *given):
        try:
            os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return super().load(*given)
        os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_a_rank_that_crashes_as_it_starts_does_not_cost_the_job(cluster: SlurmCluster, tmp_path: Path) -> None:
    """Open MPI does so, rarely, where a message comes too early."""
    (tmp_path / "crashes_once.py").write_text(CRASHES_ONCE, encoding="utf-8")
    task = ["--task=crashes_once:CrashesOnce", f"--task.marker={tmp_path / 'marker'}"]
    job = submit(cluster, tmp_path, *SHORT, *task, sbatch=("--nodes=2",))
    assert cluster.wait(job, ENDED, 150)["JobState"] == "COMPLETED", output(tmp_path)
    assert output(tmp_path).count("a rank crashed as it started (signal 11); the ranks are launched again, once") == 1
    assert [line["kind"] for line in records(tmp_path / "run")].count("start") == 1


def test_a_job_rehearses_and_leaves_nothing(cluster: SlurmCluster, tmp_path: Path) -> None:
    """Where runs are written is on a disk that both nodes see."""
    where = (f"--chdir={tmp_path}", f"--export=ALL,ADABATCH_HOME={ROOT}", "--nodes=2", "--time=0:20:0")
    job = cluster.sbatch(*where, TEMPLATE, "rehearse", RECIPE)
    assert cluster.wait(job, ENDED, 150)["JobState"] == "COMPLETED", output(tmp_path)
    said = output(tmp_path)
    for line in ("first batch 16: 3 step(s) of 1 x 8 a rank", "largest batch 256: 3 step(s) of 1 x 128 a rank"):
        assert said.count(line) == 1, said
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("nodes", [2, 4])
def test_srun_without_any_mpi_trains_the_same_by_torch(
    nodes: int, cluster: SlurmCluster, short_by_hand: dict[int, Path], tmp_path: Path
) -> None:
    """The ranks meet at a port of the step's first node; auto has chosen the engine. Two ranks sum as Horovod's do."""
    reference = short_by_hand[2] if nodes == 2 else by_hand(tmp_path, nodes, *SHORT, "--engine=torch")
    train = f"{sys.executable} -m hpc_adabatch train {RECIPE} {' '.join(SHORT)} --out {tmp_path / 'job'}"
    line = f"OMP_NUM_THREADS=1 srun --mpi=none --kill-on-bad-exit=1 {train}"
    job = cluster.sbatch(f"--nodes={nodes}", "--ntasks-per-node=1", "--wrap", line, cwd=tmp_path)
    assert cluster.wait(job, ENDED, 150)["JobState"] == "COMPLETED", cluster.output(job)
    start = records(tmp_path / "job")[0]
    assert (start["world_size"], start["nodes"], start["launcher"], start["engine"]) == (nodes, nodes, "srun", "torch")
    same_run(tmp_path / "job", reference, exact=True)


def test_the_cpu_template_trains_through_horovodrun_over_ssh(
    namespaced_cluster: SlurmCluster, short_by_hand: dict[int, Path], tmp_path: Path
) -> None:
    job = submit(namespaced_cluster, tmp_path, *SHORT, launcher="horovodrun")
    assert namespaced_cluster.wait(job, ENDED, 150)["JobState"] == "COMPLETED", output(tmp_path)
    start = records(tmp_path / "run")[0]
    assert (start["world_size"], start["nodes"]) == (2, 2)
    same_run(tmp_path / "run", short_by_hand[2], exact=True)


def same_run(found: Path, reference: Path, *, exact: bool) -> None:
    """Two ranks sum in one order, so bit by bit; four in whichever order the network brings."""
    if exact:
        assert_same(found, reference)
    results = [json.loads((run / "result.json").read_text(encoding="utf-8")) for run in (found, reference)]
    for name in ("batches", "steps", "samples_seen", "world_size"):
        assert results[0][name] == results[1][name]
    a, b = weights(found), weights(reference)
    for name in b:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_hand(tmp_path_factory.mktemp("undisturbed"), 2, *LONG)


@pytest.fixture(scope="module")
def small_cluster() -> Any:
    """Two nodes, so that any two jobs are in each other's way; a preempted one has half a minute."""
    require()
    with SlurmCluster(2, 2, grace_s=30) as cluster:
        yield cluster


def until_it_trains(
    cluster: SlurmCluster, job: int, folder: Path, step: int, unless: Path = Path("/nonexistent")
) -> None:
    """Returns at the step, or once the file `unless` is there: a slow machine may be told to stop before."""
    deadline = time.monotonic() + 120
    while not any(record["step"] >= step for record in records(folder / "run")) and not unless.exists():
        assert cluster.job(job)["JobState"] not in ENDED, output(folder)
        assert time.monotonic() < deadline, output(folder)
        time.sleep(0.2)


@contextmanager
def standing_still(pids: Sequence[int]) -> Iterator[None]:
    """Processes that do nothing within: a fast machine would be at the end of training before Slurm comes to it."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def stop_file(folder: Path, job: int) -> Path:
    """What launch/job makes when the job is told to stop."""
    return folder / f".adabatch-stop-{job}"


def until_it_is_told(folder: Path, job: int) -> None:
    """Returns when Slurm has told the job to stop."""
    deadline = time.monotonic() + 60
    while not stop_file(folder, job).exists():
        assert time.monotonic() < deadline, output(folder)
        time.sleep(0.1)


def finish(cluster: SlurmCluster, job: int, folder: Path, restarts: int = 1) -> None:
    """A job that Slurm has queued again ends well. It is not hurried: nodes refuse what they have just seen revoked."""
    deadline = time.monotonic() + 240
    while not (folder / "run" / "result.json").exists():  # Slurm shows the job's old end for a moment
        assert time.monotonic() < deadline, output(folder)
        time.sleep(0.5)
    assert cluster.wait(job, "COMPLETED")["Restarts"] == str(restarts), output(folder)


def left(cluster: SlurmCluster, job: int, expected: str, at_most_s: float = 60, restarts: int = 1) -> None:
    """Waits until the job, which has run, runs no more and is what it should be."""
    began = time.monotonic()
    while (state := cluster.job(job))["JobState"] != expected or (
        expected == "PENDING" and state["Restarts"] != str(restarts)
    ):
        assert time.monotonic() - began < at_most_s, f"{state}\n{cluster.output(job)}"
        time.sleep(0.5)


@ENGINES
def test_a_job_that_is_preempted_and_then_requeued_by_hand_goes_on_exactly(
    mpi: str, engine: str, small_cluster: SlurmCluster, undisturbed: Path, tmp_path: Path
) -> None:
    job = submit(small_cluster, tmp_path, *LONG, mpi=mpi)
    ranks = [small_cluster.rank_pid(job, rank, timeout_s=60) for rank in (0, 1)]
    until_it_trains(small_cluster, job, tmp_path, 100)
    with standing_still(ranks):
        urgent = small_cluster.sbatch("-p", "high", "-N", "2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1")
        until_it_is_told(tmp_path, job)
    left(small_cluster, job, "PENDING")
    assert records(tmp_path / "run")[-1]["kind"] == "end"  # it was told in time
    small_cluster.wait(urgent, "COMPLETED", 60)
    until_it_trains(small_cluster, job, tmp_path, records(tmp_path / "run")[-1]["step"] + 100)
    small_cluster.run("scontrol", "requeue", job)
    left(small_cluster, job, "PENDING", restarts=2)
    finish(small_cluster, job, tmp_path, restarts=2)
    assert {record["engine"] for record in records(tmp_path / "run") if "engine" in record} == {engine}
    assert_same(tmp_path / "run", undisturbed)


def test_a_job_at_the_end_of_its_time_is_queued_again_and_goes_on_exactly(
    small_cluster: SlurmCluster, undisturbed: Path, tmp_path: Path
) -> None:
    """Slurm looks every half minute, and signals half a minute early: 10 to 40 s after the start of this job.

    Of 50 s in place of 20 the signal may come in the first second, before the script is there to hear it.
    """
    job = submit(small_cluster, tmp_path, *LONG, sbatch=("--time=1", "--signal=B:USR2@20"))
    ranks = [small_cluster.rank_pid(job, rank, timeout_s=60) for rank in (0, 1)]
    until_it_trains(small_cluster, job, tmp_path, 100, unless=stop_file(tmp_path, job))
    with standing_still(ranks):
        until_it_is_told(tmp_path, job)
    left(small_cluster, job, "PENDING", at_most_s=180)
    assert records(tmp_path / "run")[-1]["reason"] == "stop file"
    small_cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=10")
    finish(small_cluster, job, tmp_path)
    assert_same(tmp_path / "run", undisturbed)


def test_a_script_of_the_users_own_is_stopped_queued_again_and_goes_on(
    small_cluster: SlurmCluster, tmp_path: Path
) -> None:
    """The template starts it as it stands; the batch script is told what Slurm tells it before the time is up."""
    script = ROOT / "tests" / "slurm" / "programs" / "script.py"
    where = (f"--chdir={tmp_path}", f"--export=ALL,ADABATCH_HOME={ROOT},ADABATCH_LAUNCHER=srun")
    job = small_cluster.sbatch(*where, TEMPLATE, "python", script, tmp_path / "run")
    until_it_trains(small_cluster, job, tmp_path, 20)
    small_cluster.run("scancel", "--batch", "--signal=USR2", job)
    left(small_cluster, job, "PENDING")
    finish(small_cluster, job, tmp_path)
    found = records(tmp_path / "run")
    assert [record["step"] for record in found if record["kind"] == "statistics"] == list(range(1, 46))
    assert [record["reason"] for record in found if record["kind"] == "end"] == ["stop file", "complete"]
    assert [record["world_size"] for record in found if record["kind"] in ("start", "resume")] == [2, 2]


def test_a_job_that_loses_a_slurmd_and_then_a_node_is_queued_again_and_goes_on_exactly(
    small_cluster: SlurmCluster, undisturbed: Path, tmp_path: Path
) -> None:
    """A rank lives on where slurmd alone is killed, until it misses those whose slurmd was told to end them.

    Slurm notices after 25 to 30 s. Until then the ranks stand still, or they would be done; and of a rank that leaves
    by itself Slurm would tell the lost node a minute later (cluster.py), when it is used again.
    """
    job = submit(small_cluster, tmp_path, *LONG, "--checkpoint_steps=50")
    until_it_trains(small_cluster, job, tmp_path, 80)
    first, orphan = [small_cluster.rank_pid(job, rank) for rank in (0, 1)]
    with small_cluster.without_slurmd("node2"):
        for pid in (first, orphan):
            os.kill(pid, signal.SIGSTOP)
        left(small_cluster, job, "PENDING", at_most_s=120)
        os.kill(orphan, signal.SIGCONT)
        deadline = time.monotonic() + 60
        while Path(f"/proc/{orphan}").exists():
            assert time.monotonic() < deadline, output(tmp_path)
            time.sleep(0.2)
    until_it_trains(small_cluster, job, tmp_path, records(tmp_path / "run")[-1]["step"] + 60)
    os.kill(small_cluster.rank_pid(job, 0), signal.SIGSTOP)  # Slurm kills it
    small_cluster.power_off("node2")
    left(small_cluster, job, "PENDING", at_most_s=120, restarts=2)
    small_cluster.power_on("node2")
    finish(small_cluster, job, tmp_path, restarts=2)
    assert "resumed" in output(tmp_path)
    assert_same(tmp_path / "run", undisturbed)


@ENGINES
def test_a_job_that_is_cancelled_and_one_that_loses_a_rank_end_and_the_same_command_goes_on_exactly(
    mpi: str, engine: str, small_cluster: SlurmCluster, undisturbed: Path, tmp_path: Path
) -> None:
    """Bug story: scancel ends ranks with SIGTERM, which they answer with 75, and the script queued the job again."""
    job = submit(small_cluster, tmp_path, *LONG, mpi=mpi)
    until_it_trains(small_cluster, job, tmp_path, 100)
    small_cluster.run("scancel", job)
    left(small_cluster, job, "CANCELLED")
    assert records(tmp_path / "run")[-1]["kind"] == "end"  # the ranks were told in time

    again = submit(small_cluster, tmp_path, *LONG, mpi=mpi)
    until_it_trains(small_cluster, again, tmp_path, records(tmp_path / "run")[-1]["step"] + 100)
    pid = small_cluster.rank_pid(again, 1)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    left(small_cluster, again, "FAILED")
    assert not (tmp_path / "run" / "result.json").exists()

    last = submit(small_cluster, tmp_path, *LONG, mpi=mpi)
    assert small_cluster.wait(last, ENDED, 240)["JobState"] == "COMPLETED", output(tmp_path)
    assert {record["engine"] for record in records(tmp_path / "run") if "engine" in record} == {engine}
    assert_same(tmp_path / "run", undisturbed)
    state = small_cluster.job(job)  # a requeue would have come long ago
    assert (state["JobState"], state["Restarts"]) == ("CANCELLED", "0"), output(tmp_path)
    assert "Slurm has cancelled it" in output(tmp_path)
