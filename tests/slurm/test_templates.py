"""What the templates ask of Slurm and of the launcher, word by word. Real Slurm runs them in test_jobs.py.

A golden file holds a template's #SBATCH lines and the call that it comes to; after a wanted change:
GOLDEN=write python -m pytest tests/slurm/test_templates.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TEMPLATES = sorted(path.stem for path in (ROOT / "slurm").glob("*.sbatch"))
NETWORKS = {"gh200": "slingshot", "mi250": "slingshot", "cpu": "sockets"}  # that such machines have; else InfiniBand
JOB = {  # what Slurm tells a job
    "SLURM_JOB_ID": "81234",
    "SLURM_NTASKS": "8",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_NODELIST": "gpu[01-02]",
    "SLURM_TASKS_PER_NODE": "4(x2)",
    "SLURM_CPUS_PER_TASK": "10",
}


def run(script: Path, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a script with the launchers of fakes/, and nothing of this machine's environment but the path."""
    environment = {"PATH": f"{HERE / 'fakes'}:{os.environ['PATH']}", "HOME": str(cwd), "ADABATCH_HOME": str(ROOT)}
    return subprocess.run(
        ["bash", str(script), *arguments],
        env=environment | variables,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_comes_to(name: str, tmp_path: Path) -> None:
    template = ROOT / "slurm" / f"{name}.sbatch"
    variables = JOB | {"ADABATCH_NETWORK": NETWORKS.get(name, "infiniband"), "USER": "me"}
    done = run(template, "recipes/quickstart.yaml", "--task.root", "two words", cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    asked = [line for line in template.read_text(encoding="utf-8").splitlines() if line.startswith("#SBATCH")]
    called = [line for line in done.stdout.splitlines() if not line.startswith("job 81234")]
    found = "\n".join([*asked, "", *called[1:]]) + "\n"  # the first says the command itself
    golden = HERE / "golden" / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


SCRIPTS = [*(ROOT / "slurm").glob("*.sbatch"), *(path for path in ROOT.glob("launch/**/*") if path.is_file())]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_valid_and_sbatch_lines_stand_before_commands(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    commands = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        commands += bool(line) and not line.startswith("#")
        assert not (line.startswith("#SBATCH") and commands), f"sbatch does not see {line}"


def test_the_templates_of_p100_v100_and_a100_differ_in_numbers_and_precision_alone() -> None:
    commands = {
        tuple(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
        for path in (ROOT / "slurm" / f"{name}.sbatch" for name in ("p100", "v100", "a100"))
    }
    assert len({tuple(line for line in lines if "ADABATCH_FLAGS" not in line) for lines in commands}) == 1


def job(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(ROOT / "launch" / "job", *arguments, cwd=cwd, **(JOB | variables))


def test_a_word_before_the_recipe_is_another_command(tmp_path: Path) -> None:
    assert "adabatch measure r.yaml --steps 20" in job("measure", "r.yaml", "--steps", "20", cwd=tmp_path).stdout
    assert "adabatch rehearse r.yaml --out x" in job("rehearse", "r.yaml", "--out", "x", cwd=tmp_path).stdout
    flags = {"ADABATCH_FLAGS": "--precision float16"}  # a template's, which are a recipe's
    assert "adabatch doctor\n" in job("doctor", cwd=tmp_path, **flags).stdout
    assert "adabatch probe --seconds 9\n" in job("probe", "--seconds", "9", cwd=tmp_path, **flags).stdout
    assert "adabatch probe r.yaml --precision float16\n" in job("probe", "r.yaml", cwd=tmp_path, **flags).stdout
    trained = job("r.yaml", "--out", "x", cwd=tmp_path).stdout
    assert "adabatch train r.yaml --out x --resume auto" in trained
    trained = job("r.yaml", "--seed", "1", cwd=tmp_path).stdout
    assert "adabatch train r.yaml --seed 1 --out runs/r-81234 --resume auto" in trained


@pytest.mark.parametrize("program", ["python", "python3.12", "/opt/site/bin/python", "./own", "bash"])
def test_a_script_is_started_as_it_stands_and_queued_again_when_it_was_stopped(
    program: str, tmp_path: Path, no_waiting: dict[str, str]
) -> None:
    """Its flags are its own, and so is the folder of its run."""
    (tmp_path / "own").write_text("", encoding="utf-8")
    (tmp_path / "own").chmod(0o755)
    words = [program, "train.py", "--lr", "0.1", "--out", "two words"]
    flags = {"ADABATCH_FLAGS": "--precision float16"}
    done = job(*words, cwd=tmp_path, FAKE_CODE="75", **flags, **no_waiting)
    assert done.returncode == 75
    assert f"--unbuffered {program} train.py --lr 0.1 --out two\\ words\n" in done.stdout
    assert asked(tmp_path) == ["scontrol requeue 81234"]
    done = job(*words, cwd=tmp_path, FAKE_CODE="75", SLURM_RESTART_COUNT="5", **no_waiting)
    assert done.stderr.endswith("stopped 6 times; to go on: submit the same command again\n")
    assert job(*words, cwd=tmp_path, FAKE_CODE="70", **no_waiting).returncode == 70
    assert job(*words, cwd=tmp_path, **no_waiting).returncode == 0
    assert len(asked(tmp_path)) == 1


def test_a_script_that_may_not_be_queued_again_hands_its_words_to_its_successor(
    tmp_path: Path, no_waiting: dict[str, str]
) -> None:
    how = {"FAKE_CODE": "75", "FAKE_REFUSES": "disabled", "FAKE_JOBS": TOLD.format(state="RUNNING"), **no_waiting}
    job("python", "train.py", "two words", cwd=tmp_path, **how)
    assert asked(tmp_path)[-5:] == ["python", "train.py", "two words", "restarts 2", "the script of job 81234"]


def test_a_launcher_that_says_well_done_without_a_result_is_not_believed(tmp_path: Path) -> None:
    """srun has ended with 0 where a requeued job's step could not be launched."""
    fakes = tmp_path / "fakes"
    shutil.copytree(HERE / "fakes", fakes, symlinks=True)
    (fakes / "srun").write_text("#!/bin/sh\necho pmix\n", encoding="utf-8")
    path = {"PATH": f"{fakes}:{os.environ['PATH']}"}
    done = job("r.yaml", "--out", "x", cwd=tmp_path, SLURM_RESTART_COUNT="5", **path)
    assert done.returncode == 75
    assert "ended with 0, but there is no x/result.json" in done.stderr
    assert job("doctor", cwd=tmp_path, **path).returncode == 0


def test_ranks_that_crash_as_they_start_are_launched_once_more(tmp_path: Path, no_waiting: dict[str, str]) -> None:
    """Seen in one of some hundred starts of Open MPI 4.1 under srun; a script of the user's may have done something."""

    def launches(*words: str, **more: str) -> tuple[int, int]:
        done = job(*words, cwd=tmp_path, **more, **no_waiting)
        said = "job 81234: a rank crashed as it started (signal 11); the ranks are launched again, once"
        assert done.stderr.count(said) == sum(line.startswith("srun ") for line in done.stdout.splitlines()) - 1
        return done.returncode, done.stderr.count(said)

    assert launches("r.yaml", "--out", "x", FAKE_CODE="139") == (139, 1)
    assert launches("measure", "r.yaml", FAKE_CODE="139") == (139, 1)
    assert launches("python", "train.py", FAKE_CODE="139") == (139, 0)
    assert launches("r.yaml", "--out", "x", FAKE_CODE="70") == (70, 0)
    assert launches("r.yaml", "--out", "x", FAKE_CODE="137") == (137, 0)
    assert launches("r.yaml", "--out", "x", FAKE_CODE="139", FAKE_STOPS="yes")[1] == 0


def test_how_busy_the_gpus_were_is_left_beside_the_result(tmp_path: Path) -> None:
    """At the end alone, or a study would take a job that stands still for one that works; of the job's own GPUs."""
    fakes = tmp_path / "fakes"
    shutil.copytree(HERE / "fakes", fakes, symlinks=True)
    watched = 'case $* in *--loop=*) echo "98, 310.5 of $*"; echo $$ >watcher; exec sleep 600 ;; esac'
    (fakes / "nvidia-smi").write_text(f"#!/bin/sh\n{watched}\n", encoding="utf-8")
    (fakes / "nvidia-smi").chmod(0o755)
    head = "#!/usr/bin/env bash\n"
    text = (HERE / "fakes" / "srun").read_text(encoding="utf-8")
    slow = text.replace(head, f"{head}until [ -s watcher ]; do sleep 0.1; done\n", 1)
    (fakes / "srun").unlink()
    (fakes / "srun").write_text(slow, encoding="utf-8")
    (fakes / "srun").chmod(0o755)
    (tmp_path / "x").mkdir()  # as a study makes it
    more = {"PATH": f"{fakes}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "2,3"}
    assert job("measure", "r.yaml", "--out", "x", cwd=tmp_path, **more).returncode == 0
    found = (tmp_path / "x" / "nvidia-smi-81234.csv").read_text(encoding="utf-8")
    assert found.startswith(
        "98, 310.5 of --id=2,3 --query-gpu=utilization.gpu,power.draw --format=csv,noheader,nounits"
    )
    watcher, deadline = (tmp_path / "watcher").read_text(encoding="utf-8").strip(), time.monotonic() + 60
    while Path("/proc", watcher, "exe").exists():  # the job does not wait: beside a broken GPU nvidia-smi may hang
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def no_waiting(tmp_path: Path) -> dict[str, str]:
    """Fakes with which nothing sleeps: Slurm would end the script meanwhile."""
    fakes = tmp_path / "fakes"
    shutil.copytree(HERE / "fakes", fakes, symlinks=True)
    (fakes / "sleep").write_text("#!/bin/sh\n", encoding="utf-8")
    (fakes / "sleep").chmod(0o755)
    return {"PATH": f"{fakes}:{os.environ['PATH']}"}


def asked(folder: Path) -> list[str]:
    """What the job has asked of scontrol and sbatch."""
    path = folder / "asked"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_a_job_that_was_stopped_is_queued_again_a_few_times_only(tmp_path: Path, no_waiting: dict[str, str]) -> None:
    done = job("r.yaml", cwd=tmp_path, FAKE_CODE="75", SLURM_RESTART_COUNT="4", **no_waiting)
    assert done.returncode == 75
    assert asked(tmp_path) == ["scontrol requeue 81234"]
    done = job("measure", "r.yaml", cwd=tmp_path, FAKE_CODE="75", **no_waiting)
    assert done.returncode == 75
    for code in (70, 74):  # diverged; a full disk
        assert job("r.yaml", cwd=tmp_path, FAKE_CODE=str(code), **no_waiting).returncode == code
    done = job("r.yaml", cwd=tmp_path, FAKE_CODE="75", SLURM_RESTART_COUNT="5", **no_waiting)
    assert done.returncode == 75
    assert "stopped 6 times" in done.stderr
    assert len(asked(tmp_path)) == 1  # measure has no checkpoint, and the others would end in the same way
    for state in ("COMPLETING", "CANCELLED"):  # the ranks answer the SIGTERM of scancel with 75, too
        told = TOLD.format(state=state)
        done = job("r.yaml", cwd=tmp_path, FAKE_CODE="75", FAKE_JOBS=told, **no_waiting)
        assert done.returncode == 75
        assert "Slurm has cancelled it, or takes it back by itself" in done.stdout
        assert len(asked(tmp_path)) == 1


TOLD = (
    "JobId=81234 ArrayJobId=81230 ArrayTaskId=4 JobName=a b JobState={state} Reason=None Restarts=1 "
    "TimeLimit=1-00:00:00 Partition=gpu NumNodes=2 NumTasks=8 ReqB:S:C:T=0:0:*:* NtasksPerN:B:S:C=4:0:*:* CoreSpec=* "
    "MinMemoryNode=0 Features=v100-32g OverSubscribe=NO Account=abc QOS=(null) "
    "StdErr=/my runs/81234/50%-81234.out StdIn=/dev/null StdOut=/my runs/81234/50%-81234.out Power= "
    "TresPerNode=gres:gpu:v100:4 "
)
OTHERS = "JobId=81230 ArrayJobId=81230 ArrayTaskId=9 JobName=a b JobState=RUNNING Restarts=0"


def test_a_task_of_an_array_is_queued_again_alone(tmp_path: Path, no_waiting: dict[str, str]) -> None:
    """Slurm's variables may be those of an array that this job was submitted from; scontrol shows all of its own."""
    told = f"{OTHERS}\n{TOLD.format(state='RUNNING')}"
    foreign = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1", "SLURM_RESTART_COUNT": "5"}
    job("r.yaml", cwd=tmp_path, FAKE_CODE="75", FAKE_JOBS=told, **no_waiting, **foreign)
    assert asked(tmp_path) == ["scontrol requeue 81230_4"]


def test_a_job_that_may_not_be_queued_again_submits_its_successor_once(
    tmp_path: Path, no_waiting: dict[str, str]
) -> None:
    (tmp_path / "from here").mkdir()
    how = {"FAKE_CODE": "75", "FAKE_REFUSES": "Requested operation is presently disabled", "ADABATCH_RESTARTS": "2"}
    how |= {"SLURM_SUBMIT_DIR": str(tmp_path / "from here"), **no_waiting}
    done = job("r.yaml", "--x", "two words", cwd=tmp_path, FAKE_JOBS=TOLD.format(state="RUNNING"), **how)
    assert done.returncode == 75
    assert "start 4 of at most 6" in done.stdout
    assert "job 81234: goes on as job 81240" in done.stdout
    assert "queued again\n" not in done.stdout.replace("asks to be queued again\n", "")
    requeue, where, *flags = asked(tmp_path)
    at = next(index for index, word in enumerate(flags) if word.startswith("/"))
    assert (requeue, where) == ("scontrol requeue 81230_4", f"in {tmp_path / 'from here'}")
    assert set(flags[:at]) == {
        *("--parsable", "--dependency=afterany:81234", "--open-mode=append", "--export=ALL", f"--chdir={tmp_path}"),
        *("--job-name=a b", "--time=1-00:00:00", "--partition=gpu", "--account=abc", "--array=4", "--nodes=2"),
        *("--ntasks=8", "--ntasks-per-node=4", "--cpus-per-task=10", "--mem=0", "--gres=gpu:v100:4", "--exclusive"),
        *("--constraint=v100-32g", "--output=/my runs/81234/50%%-%j.out"),
    }
    handed_on = ["train", "r.yaml", "--x", "two words", "--out", "runs/r-81234"]
    assert flags[at + 1 :] == [*handed_on, "restarts 4", "the script of job 81234"]

    done = job("r.yaml", cwd=tmp_path, **how)  # a Slurm that says nothing of the job
    assert "to go on: submit the same command again with --out runs/r-81234" in done.stderr


FOLLOWS = {"FAKE_CODE": "75", "FAKE_NODES": "16", "ADABATCH_RESTARTS": "2", "FAKE_JOBS": TOLD.format(state="RUNNING")}


def test_a_run_that_asks_for_other_nodes_gets_a_successor_on_them(tmp_path: Path, no_waiting: dict[str, str]) -> None:
    """It is no restart, and the job has ended well: the run itself has left it."""
    waited = TOLD.format(state="RUNNING") + "EligibleTime=2026-11-30T03:00:00 StartTime=2026-11-30T03:01:30 "
    more = {"ADABATCH_NODES_FOLLOW": "1:16", "ADABATCH_MOVES": "1", "FAKE_JOBS": waited, **no_waiting}
    done = job("r.yaml", "--x", "y", cwd=tmp_path, **(FOLLOWS | more))
    assert done.returncode == 0, done.stderr
    assert "adabatch train r.yaml --nodes_follow 1:16 --x y --out runs/r-81234 --resume auto" in done.stdout
    assert {"ADABATCH_JOB_NODES=2", "ADABATCH_MOVES_LEFT=9", "ADABATCH_WAITED_S=90"} <= set(done.stdout.splitlines())
    assert "job 81234: goes on as job 81240" in done.stdout
    _, *words = asked(tmp_path)
    assert {"--nodes=16", "--ntasks=64", "--ntasks-per-node=4", "--gres=gpu:v100:4"} <= set(words)
    assert words[-3:] == ["restarts 3", "moves 2", "the script of job 81234"]
    assert not list(tmp_path.glob(".adabatch*"))


def test_a_move_that_the_queue_refuses_leaves_the_run_where_it_is(tmp_path: Path, no_waiting: dict[str, str]) -> None:
    """It is told so, and asks no more; what then stops it stops it as any run."""
    done = job("r.yaml", "--nodes_follow=1:16", cwd=tmp_path, FAKE_FULL="too many nodes", **FOLLOWS, **no_waiting)
    assert done.returncode == 75
    assert done.stderr.startswith("too many nodes\njob 81234: that is refused; the run stays on its 2 node(s)\n")
    starts = [line for line in done.stdout.splitlines() if line.startswith("ADABATCH_MOVES_LEFT")]
    assert starts == ["ADABATCH_MOVES_LEFT=10", "ADABATCH_MOVES_LEFT=0"]
    assert asked(tmp_path) == ["scontrol requeue 81230_4"]


def test_a_job_that_is_cancelled_does_not_move(tmp_path: Path, no_waiting: dict[str, str]) -> None:
    how = FOLLOWS | {"FAKE_JOBS": TOLD.format(state="COMPLETING")}
    done = job("r.yaml", "--nodes_follow", "1:16", cwd=tmp_path, **how, **no_waiting)
    assert done.returncode == 75
    assert "Slurm has cancelled it, or takes it back by itself" in done.stdout
    assert asked(tmp_path) == []


def test_a_run_whose_nodes_stay_is_told_of_no_moves(tmp_path: Path) -> None:
    """Nor is another command, nor a run that nobody queued: each would refuse --nodes_follow in one line."""
    assert "ADABATCH_JOB_NODES" not in job("r.yaml", cwd=tmp_path, ADABATCH_JOB_NODES="9").stdout
    told = job("measure", "r.yaml", cwd=tmp_path, ADABATCH_NODES_FOLLOW="1:4").stdout
    assert "--nodes_follow" not in told
    by_hand = run(ROOT / "launch" / "job", "r.yaml", "--nodes_follow=1:4", cwd=tmp_path).stdout
    assert "ADABATCH_JOB_NODES" not in by_hand


@pytest.mark.parametrize(
    ("code", "stops", "expected"),
    [
        ("1", "", 1),
        ("1", "yes", 75),
        ("143", "yes", 75),
        ("2", "yes", 2),
        ("0", "yes", 0),
        ("70", "yes", 70),
        ("74", "yes", 74),
    ],
)
def test_exit_codes_of_launchers_come_to_the_same(code: str, stops: str, expected: int, tmp_path: Path) -> None:
    done = run(ROOT / "launch" / "run", "true", cwd=tmp_path, FAKE_CODE=code, FAKE_STOPS=stops, **JOB)
    assert done.returncode == expected
    assert not list(tmp_path.glob(".adabatch*"))


@pytest.mark.parametrize(
    ("code", "left", "expected"), [(1, 74, 74), (255, 75, 75), (9, 70, 70), (0, 75, 75), (9, 0, 9)]
)
def test_the_code_that_a_rank_leaves_is_that_of_the_ranks(code: int, left: int, expected: int, tmp_path: Path) -> None:
    """horovodrun --gloo ends with 1 and Intel's mpirun with 255, whatever the ranks end with."""
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    write = f'printf {left} >"$ADABATCH_STOP_FILE.code"' if left else "true"
    (fakes / "mpirun").write_text(f"#!/bin/sh\n[ $1 = --version ] || {write}\nexit {code}\n", encoding="utf-8")
    (fakes / "mpirun").chmod(0o755)
    variables = {"ADABATCH_STOP_FILE": str(tmp_path / "stop"), "PATH": f"{fakes}:{os.environ['PATH']}"}
    assert run(ROOT / "launch" / "run", "true", cwd=tmp_path, **variables).returncode == expected
    assert not (tmp_path / "stop.code").exists()


@pytest.mark.parametrize(
    ("launcher", "version", "line"),
    [
        ("mpirun", "mpirun (Open MPI) 4.1.4", "mpirun -np 2 --bind-to none --oversubscribe x"),
        ("mpirun", "mpirun (Open MPI) 5.0.11", "mpirun -np 2 --bind-to none --oversubscribe x"),
        ("mpirun", "HYDRA build details:", "mpirun -np 2 --bind-to none x"),
        ("mpirun", "Intel(R) MPI Library for Linux* OS, Version 2021.18", "mpirun -np 2 --bind-to none x"),
        ("horovodrun", "mpirun (Open MPI) 4.1.4", "horovodrun -np 2 -H localhost:2 x"),
        (
            "horovodrun",
            "mpirun (Open MPI) 5.0.11",
            "horovodrun -np 2 -H localhost:2 --binding-args=--bind-to none --map-by slot x",
        ),
    ],
)
def test_the_line_is_one_that_this_mpirun_takes(launcher: str, version: str, line: str, tmp_path: Path) -> None:
    """Hydra knows no --oversubscribe; Open MPI 5 refuses the -bind-to and -map-by of horovodrun 0.28.1."""
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    for name in ("mpirun", "horovodrun"):
        text = f"#!/bin/sh\n[ $1 = --version ] && echo '{version}' || echo {name} $*\n"
        (fakes / name).write_text(text, encoding="utf-8")
        (fakes / name).chmod(0o755)
    variables = {"ADABATCH_LAUNCHER": launcher, "PATH": f"{fakes}:{os.environ['PATH']}"}
    done = run(ROOT / "launch" / "run", "-n", "2", "x", cwd=tmp_path, **variables)
    assert done.stdout.strip() == line


def test_mpich_starts_its_proxies_without_a_pmi_of_slurm(tmp_path: Path) -> None:
    """Bug story: by srun's default, PMIx, its ranks found variables of two PMIs, and MPICH 5 ended them all."""
    variables = JOB | {"ADABATCH_LAUNCHER": "mpirun", "FAKE_MPI": "HYDRA build details:", "FAKE_TELLS": "SLURM_MPI"}
    found = launched("adabatch", "doctor", cwd=tmp_path, **variables)
    assert found[0] == "mpirun -np 8 --bind-to none adabatch doctor"
    assert "SLURM_MPI_TYPE=none" in found


def launched(*arguments: str, cwd: Path, **variables: str) -> list[str]:
    """The line that launch/run comes to, and the variables of its ranks."""
    done = run(ROOT / "launch" / "run", *arguments, cwd=cwd, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_horovodrun_is_told_the_hosts_and_their_ranks(tmp_path: Path) -> None:
    """As srun distributes them: Slurm's variables call -n5 --ntasks-per-node=2 2(x3), scontrol calls n[1-2]-ib none."""
    wrong = {"SLURM_TASKS_PER_NODE": "2(x3)", "SLURM_NTASKS": "5", "SLURM_JOB_NODELIST": "n[1-2]-ib,n10-ib"}
    variables = JOB | wrong | {"ADABATCH_LAUNCHER": "horovodrun", "FAKE_TASKS": "n1-ib n10-ib n2-ib n1-ib n2-ib"}
    line = launched("adabatch", "doctor", cwd=tmp_path, **variables)[0]
    assert line == "horovodrun -np 5 -H n1-ib:2\\,n2-ib:2\\,n10-ib:1 adabatch doctor"
    done = run(ROOT / "launch" / "run", "x", cwd=tmp_path, **(variables | {"FAKE_TASKS": ""}))
    assert (done.returncode, done.stdout) == (2, "")  # and not all ranks here
    done = run(ROOT / "launch" / "run", "x", cwd=tmp_path, **(variables | {"FAKE_CODE": "1"}))
    assert done.stderr.endswith("by ssh, which it wants to every node, type: export ADABATCH_LAUNCHER=srun\n")


def test_outside_of_jobs_and_in_spite_of_them_ranks_run_here(tmp_path: Path) -> None:
    line = "mpirun -np 3 --bind-to none --oversubscribe adabatch doctor"
    assert launched("-n", "3", "adabatch", "doctor", cwd=tmp_path)[0] == line
    assert launched("-np", "3", "adabatch", "doctor", cwd=tmp_path)[0] == line  # as one types it to mpirun
    more = {"ADABATCH_LAUNCHER": "local", "SLURM_CONF": "/etc/slurm.conf", "FAKE_TELLS": "SLURM"}
    found = launched("-n", "3", "adabatch", "doctor", cwd=tmp_path, **(JOB | more))
    assert found[0] == line
    assert [name for name in found if name.startswith("SLURM")] == ["SLURM_CONF=/etc/slurm.conf"]


@pytest.mark.parametrize("flag", ["--oversubscribe", "-N", "--np=2", "-n2"])
def test_a_flag_that_launch_run_does_not_have_is_no_command(flag: str, tmp_path: Path) -> None:
    """``-np 2`` was taken for a part of the command, which mpirun then did not find."""
    done = run(ROOT / "launch" / "run", flag, "2", "adabatch", "doctor", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"launch/run: {flag}: given before the command; allowed: -n RANKS; type: launch/run -n 2 "
    )


def test_without_horovod_torchs_launcher_starts_the_ranks_here(tmp_path: Path) -> None:
    """It sets one thread a rank where the user has set none: the ranks, which divide the cores, do not see that."""
    (tmp_path / "fakes").mkdir()
    for name in ("adabatch", "torchrun"):
        (tmp_path / "fakes" / name).symlink_to(HERE / "fakes" / "srun")
    path = {"PATH": f"{tmp_path / 'fakes'}:/usr/bin:/bin"}
    line = "torchrun --standalone --nproc-per-node 3 --no-python"
    found = launched("-n", "3", "adabatch", "doctor", cwd=tmp_path, **path)
    assert found[0] == f"{line} env -u OMP_NUM_THREADS adabatch doctor"
    assert "OMP_NUM_THREADS=1" in found  # torchrun then has nothing to warn of
    wanted = {"OMP_NUM_THREADS": "4", "TORCHRUN_FLAGS": "--max-restarts 2", "ADABATCH_LAUNCHER": "torchrun"}
    found = launched("-n", "3", "x", cwd=tmp_path, **path, **wanted)
    assert found[0] == f"{line} --max-restarts 2 x"
    assert "OMP_NUM_THREADS=4" in found


def test_more_ranks_than_the_job_has_tasks_share_its_cores(tmp_path: Path) -> None:
    one = JOB | {"SLURM_NTASKS": "1", "FAKE_TELLS": "SLURM", "SRUN_CPUS_PER_TASK": "10"}
    found = launched("-n", "2", "x", cwd=tmp_path, **one)
    assert "SLURM_OVERCOMMIT=1" in found
    assert not [name for name in found if "CPUS_PER_TASK" in name]
    found = launched("-n", "2", "x", cwd=tmp_path, **(one | {"ADABATCH_LAUNCHER": "mpirun"}))
    assert found[0] == "mpirun -np 2 --bind-to none --oversubscribe x"
    found = launched("-n", "8", "x", cwd=tmp_path, **(JOB | {"ADABATCH_LAUNCHER": "mpirun"}))
    assert found[0] == "mpirun -np 8 --bind-to none x"


def test_what_slurm_told_another_shell_does_not_reach_srun(tmp_path: Path) -> None:
    foreign = [
        *(
            "CPU_BIND",
            "CPU_BIND_TYPE",
            "MEM_PER_CPU",
            "MEM_PER_NODE",
            "MEM_BIND",
            "TRES_PER_TASK",
            "GPUS",
            "GPUS_PER_TASK",
        ),
        *("GPU_BIND", "GRES", "CPUS_PER_GPU", "NTASKS_PER_CORE", "NTASKS_PER_GPU", "EXACT", "EXCLUSIVE", "CORE_SPEC"),
        *("EXPORT_ENV", "STEP_ID", "STEPID", "STEP_NUM_TASKS", "DISTRIBUTION", "THREADS_PER_CORE"),
    ]
    variables = JOB | {f"SLURM_{name}": "1" for name in foreign} | {"FAKE_TELLS": "SLURM", "SLURM_GPUS_ON_NODE": "4"}
    found = {line.split("=")[0] for line in launched("x", cwd=tmp_path, **variables)[1:]}
    assert {name for name in found if name.startswith("SLURM")} == {*JOB, "SLURM_GPUS_ON_NODE", "SLURM_OVERLAP"}
    own = JOB | {"SLURM_DISTRIBUTION": "block", "FAKE_TELLS": "SLURM"}  # of this job's own --distribution
    assert "SLURM_DISTRIBUTION=block" in launched("x", cwd=tmp_path, **own)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "pmix"),
        ({"FAKE_TYPES": "pmi2"}, "pmi2"),
        ({"FAKE_TYPES": "pspmi pspmix pmix pmi2"}, "pspmix"),  # ParaStation
        ({"CRAY_MPICH_VERSION": "8.1.29"}, "cray_shasta"),  # whose plugin every Slurm lists
        ({"CRAY_MPICH_VERSION": "8.1.29", "FAKE_BROKEN": "cray_shasta"}, "pmi2"),
        ({"FAKE_MPI": "HYDRA build details:"}, "pmi2"),  # MPICH
        ({"FAKE_MPI": "Intel(R) MPI Library for Linux* OS, Version 2021.13"}, "pmi2"),
        ({"FAKE_BROKEN": "pmix"}, "pmi2"),  # Debian without libpmix-dev
        ({"FAKE_BROKEN": "pmix", "MPI_TYPE": "pmix"}, "pmix"),
    ],
)
def test_the_pmi_that_can_start_a_task(variables: dict[str, str], expected: str, tmp_path: Path) -> None:
    done = run(ROOT / "launch" / "run", "x", cwd=tmp_path, **(JOB | variables))
    assert f" --mpi={expected} " in done.stdout.splitlines()[0]
    broken = "" if "MPI_TYPE" in variables else variables.get("FAKE_BROKEN", "")
    said = f"launch/run: srun lists {broken}, but: srun: error: no {broken}\n" if broken else ""
    assert done.stderr == said


def test_the_stop_file_of_a_job_is_where_its_nodes_see_it(tmp_path: Path) -> None:
    tell = ["bash", "-c", "true"]
    variables = {"TMPDIR": str(tmp_path / "node")}
    script = tmp_path / "srun"
    script.write_text('#!/bin/sh\necho "$ADABATCH_STOP_FILE"\n', encoding="utf-8")
    script.chmod(0o755)
    (tmp_path / "mpirun").symlink_to(script)
    variables["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    (path,) = launched(*tell, cwd=tmp_path, MPI_TYPE="pmix", **(JOB | variables))
    assert path.startswith(f"{tmp_path}/.adabatch-stop-81234-")
    (path,) = launched(*tell, cwd=tmp_path, **variables)
    assert path.startswith(f"{tmp_path}/node/adabatch-stop.")


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["-n", "0", "x"], {}, "-n: given 0; allowed: 1 or more"),
        (["-n"], {}, "-n: given nothing"),
        ([], {}, "COMMAND: given nothing"),
        (
            ["x"],
            {"ADABATCH_LAUNCHER": "aprun"},
            "ADABATCH_LAUNCHER: given aprun; allowed: srun, mpiexec, horovodrun, mpirun, torchrun, local",
        ),
        (
            ["x"],
            JOB | {"ADABATCH_LAUNCHER": "torchrun"},
            "ADABATCH_LAUNCHER: given torchrun in a job of 2 nodes; allowed: srun",
        ),
    ],
)
def test_what_cannot_be_launched_is_told(
    arguments: list[str], variables: dict[str, str], message: str, tmp_path: Path
) -> None:
    done = run(ROOT / "launch" / "run", *arguments, cwd=tmp_path, **variables)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert message in done.stderr
