"""What the templates ask of Slurm and of the launcher, word by word. Real Slurm runs them in test_jobs.py.

A golden file holds a template's #SBATCH lines and the call that it comes to; after a wanted change:
GOLDEN=write python -m pytest tests/slurm/test_templates.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TEMPLATES = sorted(path.stem for path in (ROOT / "slurm").glob("*.sbatch"))
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
    done = run(template, "recipes/quickstart.yaml", "--task.root", "two words", cwd=tmp_path, **JOB)
    assert done.returncode == 0, done.stderr
    asked = [line for line in template.read_text(encoding="utf-8").splitlines() if line.startswith("#SBATCH")]
    called = [line for line in done.stdout.splitlines() if not line.startswith("job 81234")]
    found = "\n".join([*asked, "", *called[1:]]) + "\n"  # the first says the command itself
    golden = HERE / "golden" / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [*(ROOT / "slurm").glob("*.sbatch"), ROOT / "launch" / "run", ROOT / "launch" / "job"])
def test_scripts_are_valid_and_sbatch_lines_stand_before_commands(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    commands = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        commands += bool(line) and not line.startswith("#")
        assert not (line.startswith("#SBATCH") and commands), f"sbatch does not see {line}"


def job(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(ROOT / "launch" / "job", *arguments, cwd=cwd, **(JOB | variables))


def test_a_word_before_the_recipe_is_another_command(tmp_path: Path) -> None:
    assert "adabatch measure r.yaml --steps 20" in job("measure", "r.yaml", "--steps", "20", cwd=tmp_path).stdout
    trained = job("r.yaml", "--out", "x", cwd=tmp_path).stdout
    assert "adabatch train r.yaml --out x --resume auto" in trained
    trained = job("r.yaml", "--seed", "1", cwd=tmp_path).stdout
    assert "adabatch train r.yaml --seed 1 --out runs/r-81234 --resume auto" in trained


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


def test_a_job_that_was_stopped_is_queued_again_a_few_times_only(tmp_path: Path) -> None:
    fakes = tmp_path / "fakes"
    shutil.copytree(HERE / "fakes", fakes, symlinks=True)
    (fakes / "sleep").write_text("#!/bin/sh\n", encoding="utf-8")  # Slurm would end the script meanwhile
    (fakes / "sleep").chmod(0o755)
    path = {"PATH": f"{fakes}:{os.environ['PATH']}"}
    done = job("r.yaml", cwd=tmp_path, FAKE_CODE="75", SLURM_RESTART_COUNT="4", **path)
    assert done.returncode == 75
    assert "scontrol requeue 81234" in done.stdout
    done = job("measure", "r.yaml", cwd=tmp_path, FAKE_CODE="75", **path)
    assert done.returncode == 75
    assert "scontrol requeue" not in done.stdout  # it has no checkpoint
    for code in (70, 74):  # diverged; a full disk
        done = job("r.yaml", cwd=tmp_path, FAKE_CODE=str(code), **path)
        assert done.returncode == code
        assert "scontrol requeue" not in done.stdout
    done = job("r.yaml", cwd=tmp_path, FAKE_CODE="75", SLURM_RESTART_COUNT="5", **path)
    assert done.returncode == 75
    assert "scontrol requeue" not in done.stdout
    assert "stopped 6 times" in done.stderr


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


def test_horovodrun_is_told_the_hosts_and_their_ranks(tmp_path: Path) -> None:
    variables = JOB | {"SLURM_TASKS_PER_NODE": "4(x2),1", "SLURM_NTASKS": "9", "ADABATCH_LAUNCHER": "horovodrun"}
    done = run(ROOT / "launch" / "run", "adabatch", "doctor", cwd=tmp_path, **variables)
    assert done.stdout.splitlines()[0] == "horovodrun -np 9 -H alpha:4\\,beta:4\\,gamma:1 adabatch doctor"
    done = run(ROOT / "launch" / "run", "-n", "3", "adabatch", "doctor", cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "mpirun -np 3 --bind-to none --oversubscribe adabatch doctor"


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["-n", "0", "x"], {}, "-n: given 0; allowed: 1 or more"),
        (["-n"], {}, "-n: given nothing"),
        ([], {}, "COMMAND: given nothing"),
        (["x"], {"ADABATCH_LAUNCHER": "aprun"}, "ADABATCH_LAUNCHER: given aprun; allowed: srun, horovodrun, mpirun"),
    ],
)
def test_what_cannot_be_launched_is_told(
    arguments: list[str], variables: dict[str, str], message: str, tmp_path: Path
) -> None:
    done = run(ROOT / "launch" / "run", *arguments, cwd=tmp_path, **variables)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert message in done.stderr
