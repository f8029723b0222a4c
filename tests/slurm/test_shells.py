"""Where people really type: in salloc, in a step of srun, in an array, at sites that hand no environment on.

Ranks are short scripts that say where they are: what is tried is how they are started, told and started again.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import SlurmCluster
from conftest import require

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).resolve().parents[2]
RUN, JOB = ROOT / "launch" / "run", ROOT / "launch" / "job"
CORES = "taskset -pc $$ | sed 's/.*: /cores /'"  # that this process may use
STEP = ("srun", "-n1", "--mpi=none")  # srun --pty bash, but for the terminal
PATIENCE_S = 120  # on a machine where other tests compute
CROWDED = {"OMPI_MCA_rmaps_base_oversubscribe": "0"}  # as Open MPI is at sites; the test cluster's file says 1


@pytest.fixture(scope="module")
def shells() -> Iterator[SlurmCluster]:
    """Two nodes with two cores each, to which tasks are bound."""
    require()
    with SlurmCluster(2, 2, extra="TaskPlugin=task/affinity\n") as cluster:
        cluster.environment |= {"ADABATCH_HOME": str(ROOT)} | CROWDED
        yield cluster


def script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(("#!/usr/bin/env bash", *lines, "")), encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "shell", [("srun", "-n1", "--mem=500"), ("salloc", "-n1", "--mem=700")], ids=["srun", "salloc"]
)
def test_a_job_submitted_in_an_allocation_has_all_its_cores(
    shell: tuple[str, ...], shells: SlurmCluster, tmp_path: Path
) -> None:
    """It inherited SLURM_CPU_BIND, so that both ranks had one core, or a memory that srun called mutually exclusive."""
    job = script(
        tmp_path / "job.sbatch",
        f'{RUN} bash -c "{CORES}"'.replace("$$", r"\$\$"),
        f'ADABATCH_LAUNCHER=mpirun {RUN} bash -c "{CORES}"'.replace("$$", r"\$\$"),
    )
    shells.run(*shell, "sbatch", "--wait", "-n2", "-N1", f"--output={tmp_path}/job.out", job, cwd=tmp_path)
    said = (tmp_path / "job.out").read_text(encoding="utf-8").splitlines()
    assert sorted(said[:2]) == ["cores 0", "cores 1"]
    assert said[2:] == ["cores 0,1"] * 2


def test_ranks_have_the_environment_where_a_site_hands_none_on(shells: SlurmCluster, tmp_path: Path) -> None:
    job = script(
        tmp_path / "job.sbatch",
        f"export PATH={shells.environment['PATH']} OMP_NUM_THREADS=3",
        f"{RUN} bash -c 'echo $OMP_NUM_THREADS $ADABATCH_RANKS $ADABATCH_STOP_FILE $(command -v adabatch)'",
    )
    number = shells.sbatch("--export=NONE", "-n2", "-N1", job, cwd=tmp_path)
    assert shells.wait(number, timeout_s=PATIENCE_S)["JobState"] == "COMPLETED", shells.output(number)
    first, second = shells.output(number).splitlines()
    threads, ranks, stop_file, adabatch = first.split()
    assert first == second
    assert (threads, ranks, adabatch) == ("3", "2", f"{Path(sys.executable).parent}/adabatch")
    assert stop_file.startswith(f"{tmp_path}/.adabatch-stop-{number}-")


def test_one_task_is_one_process_without_mpi(shells: SlurmCluster) -> None:
    program = "from hpc_adabatch import Cluster; c = Cluster.start(); print(c.size, c.launcher); c.stop()"
    done = shells.run(*STEP, sys.executable, "-c", program)
    assert done.stdout.split() == ["1", "none"]


def test_ranks_whose_mpi_does_not_speak_their_pmi_do_without_it(shells: SlurmCluster) -> None:
    """Open MPI ended each of them in its start, with twenty lines about how to build Slurm."""
    program = "from hpc_adabatch import Cluster; c = Cluster.start(); print(c.size, c.engine); c.stop()"
    done = shells.run("srun", "--mpi=pmi2", "-N2", "-n2", sys.executable, "-c", program)
    assert done.stdout.splitlines() == ["2 torch"] * 2
    (said,) = done.stderr.splitlines()
    assert re.match(r"adabatch: warning: Open MPI v\S+ does not speak the PMI-1 or PMI-2 by which srun started", said)


@pytest.mark.parametrize("launcher", ["srun", "mpirun", "horovodrun", "local"])
def test_two_ranks_in_a_step_of_one_task(launcher: str, shells: SlurmCluster, tmp_path: Path) -> None:
    """A step in a step waited for ever, and mpirun found one slot, that of horovodrun as well."""
    line = ("env", f"ADABATCH_LAUNCHER={launcher}", RUN, "-n", 2, "bash", "-c", "echo rank of $ADABATCH_RANKS")
    done = shells.run(*STEP, *line, cwd=tmp_path)
    said = [line.rpartition(":")[2] for line in done.stdout.splitlines()]  # horovodrun: [1,0]<stdout>:rank of 2
    assert said == ["rank of 2"] * 2
    assert not list(tmp_path.iterdir())  # its stop file is gone


def test_ctrl_c_in_salloc_on_a_login_node_reaches_the_ranks(shells: SlurmCluster, tmp_path: Path) -> None:
    """The stop file lay in the login node's own folder for temporary files."""
    rank = 'echo ready; until [ -e "$ADABATCH_STOP_FILE" ]; do sleep 0.1; done; echo checkpoint; sleep 1; exit 75'
    process = subprocess.Popen(
        ["salloc", "-N2", "-n2", str(RUN), "bash", "-c", rank],
        cwd=tmp_path,
        env=shells.environment | {"TMPDIR": str(shells.folder / "local")},  # a file system of its own on each node
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        run = subprocess.run(
            ["pgrep", "-f", "-P", str(process.pid), "launch/run"], capture_output=True, text=True, check=True
        )
        os.kill(int(run.stdout), signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.terminate()  # salloc, which gives the nodes back
    assert said.splitlines().count("checkpoint") == 2
    assert process.returncode == 128 + signal.SIGINT


def test_horovodrun_gets_the_nodes_as_srun_fills_them(shells: SlurmCluster, tmp_path: Path) -> None:
    script(tmp_path / "horovodrun", 'echo "$@"')
    job = script(
        tmp_path / "job.sbatch",
        f"export PATH={tmp_path}:$PATH ADABATCH_LAUNCHER=horovodrun",
        f"echo $SLURM_TASKS_PER_NODE; {RUN} x",
    )
    shells.run("sbatch", "--wait", "-n3", "--ntasks-per-node=2", f"--output={tmp_path}/job.out", job, cwd=tmp_path)
    said = (tmp_path / "job.out").read_text(encoding="utf-8").splitlines()
    assert (said[0], said[-1]) == ("2(x2)", "-np 3 -H node1:2,node2:1 x")


def test_a_chain_goes_on_behind_a_job_that_was_cancelled_while_it_waited(shells: SlurmCluster) -> None:
    """Which sbatch --wait calls a success, and afterok never starts; one that Slurm forgot is no condition at all."""
    first = shells.sbatch("--hold", "--wrap", "true")
    second = shells.sbatch(f"--dependency=afterany:{first}", "--wrap", "true")
    assert shells.job(second)["Reason"] in ("None", "Dependency")
    shells.run("scancel", first)
    assert shells.wait(second)["JobState"] == "COMPLETED"
    assert shells.wait(shells.sbatch("--dependency=afterany:1", "--wrap", "true"))["JobState"] == "COMPLETED"


@pytest.fixture
def stopped(shells: SlurmCluster, tmp_path: Path) -> Iterator[Path]:
    """A folder whose jobs find a training that is stopped at once the first time, and ends well the second."""
    script(
        tmp_path / "adabatch",
        'mark=first-${SLURM_ARRAY_TASK_ID:-only}; echo "task ${SLURM_ARRAY_TASK_ID:-} says $*"',
        '[ "${SLURM_ARRAY_TASK_ID:-}" != 1 ] || { touch begun; until [ -e enough ]; do sleep 0.1; done; }',
        "[ -e $mark ] || [ -e enough ] || { touch $mark; exit 75; }",
        'for word; do [ "${before:-}" != --out ] || { mkdir -p $word; touch $word/result.json; }; before=$word; done',
    )
    before = shells.environment["PATH"]
    shells.environment["PATH"] = f"{tmp_path}:{before}"
    yield tmp_path
    shells.environment["PATH"] = before


def test_the_first_task_of_an_array_is_queued_again_without_its_siblings(shells: SlurmCluster, stopped: Path) -> None:
    """The last one carries the array's number: to Slurm it meant all of them."""
    body = f"[ $SLURM_ARRAY_TASK_ID = 1 ] || until [ -e begun ]; do sleep 0.1; done; exec {JOB} r.yaml"
    number = shells.sbatch("--array=1,2", "-n1", "--requeue", "--wrap", body, cwd=stopped)
    deadline = time.monotonic() + PATIENCE_S
    while (again := tasks(shells, number)).get("2", ("", ""))[1] != "1":  # "1-2" is one line until they begin
        assert time.monotonic() < deadline, again
        time.sleep(0.2)
    assert again["1"] == ("RUNNING", "0")
    (stopped / "enough").touch()
    while (ended := tasks(shells, number))["1"] != ("COMPLETED", "0"):
        assert time.monotonic() < deadline, ended
        time.sleep(0.2)
    shells.run("scancel", number)


def tasks(cluster: SlurmCluster, number: int) -> dict[str, tuple[str, str]]:
    """State and restarts by the number in the array."""
    lines = cluster.run("scontrol", "--oneliner", "show", "job", number).stdout.splitlines()
    fields = [dict(word.partition("=")[::2] for word in line.split()) for line in lines]
    return {each["ArrayTaskId"]: (each["JobState"], each["Restarts"]) for each in fields}


def test_a_job_that_slurm_will_not_queue_again_goes_on_as_another(shells: SlurmCluster, stopped: Path) -> None:
    flags = ("--no-requeue", "--nodes=1", "--mem=300", "--time=7", "--job-name=two words", "--output=%x-%j.out")
    number = shells.sbatch(*flags, ROOT / "slurm" / "cpu.sbatch", "r.yaml", "--task.root", "a b", cwd=stopped)
    first = shells.wait(number, timeout_s=PATIENCE_S)
    assert (first["JobState"], first["ExitCode"]) == ("FAILED", "75:0")
    (said,) = [line for line in shells.output(number).splitlines() if "goes on as job" in line]
    second = shells.wait(int(said.split()[-1]), timeout_s=PATIENCE_S)
    assert second["JobState"] == "COMPLETED"
    for name in ("JobName", "NumNodes", "TimeLimit", "MinMemoryNode", "WorkDir", "Partition"):
        assert first[name] == second[name]
    assert second["StdOut"] == str(stopped / f"two words-{second['JobId']}.out")
    output = shells.output(int(second["JobId"]))
    assert "start 2 of at most 6" in output
    assert f"says train r.yaml --task.root a b --out runs/r-{number} --resume auto" in output
