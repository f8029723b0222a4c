"""Time left and signal, as Slurm's commands tell them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_adabatch.doctor import job as job_module
from hpc_adabatch.doctor.job import job, signal, time_left
from hpc_adabatch.study.job import Job
from hpc_adabatch.study.state import State

RUNS = Job(job_id="7", state=State.RUNNING, told="RUNNING", restarts=2, ended_s=100_000.0)
SCRIPT = "#!/usr/bin/env bash\n#SBATCH --nodes=2\n{}\nexec true\n"


@pytest.mark.parametrize(
    ("end_s", "words"),
    [
        (100_000.0, "2 h 0 min of job 7, start 3"),
        (92_859.0, "0 h 0 min of job 7, start 3"),
        (92_800.0 + 3 * 86400 + 3600, "3 d 1 h 0 min of job 7, start 3"),
        (90_000.0, "0 h 0 min of job 7, start 3"),
        (None, "no limit of job 7, start 3"),
    ],
)
def test_time_left(end_s: float | None, words: str) -> None:
    assert time_left("7", RUNS, end_s, 92_800.0).found == words


def test_a_slurm_that_does_not_answer() -> None:
    assert time_left("7", None, None, 0.0).found == "not known: scontrol does not answer of job 7"
    assert time_left("7", None, 3600.0, 0.0).found == "1 h 0 min of job 7"  # SLURM_JOB_END_TIME


@pytest.mark.parametrize(
    ("line", "passed_on", "words", "wrong"),
    [
        ("#SBATCH --signal=B:USR2@120", True, "USR2 to the batch script 120 s before the end", False),
        ("#SBATCH --signal=B:TERM", True, "TERM to the batch script 60 s before the end", False),
        ("#SBATCH --signal=USR2@300", False, "USR2 to the ranks 300 s before the end", False),
        ("#SBATCH --signal=RB:USR2@300", True, "USR2 to the batch script 300 s before the end", False),
        ("#SBATCH --signal=B:USR2@120", False, "hands no stop file on", True),
        ("##SBATCH --signal=B:USR2@120", True, "none before the end in the script", True),
    ],
)
def test_the_signal_stands_in_the_script(line: str, passed_on: bool, words: str, wrong: bool) -> None:
    found = signal(SCRIPT.format(line), passed_on)
    assert words in found.found
    assert bool(found.mend) is wrong


def test_no_batch_script() -> None:
    assert signal(None, True).found.startswith("no batch script")


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("SLURM_JOB_ID", "SLURM_JOB_END_TIME", *job_module.OTHERS):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_outside_of_a_job_nothing_is_asked(nowhere: pytest.MonkeyPatch) -> None:
    nowhere.setenv("PATH", "/nonexistent")
    assert [check.found for check in job()] == ["no job of a scheduler: no limit"]
    nowhere.setenv("PBS_JOBID", "12.pbs01")
    assert [check.found for check in job()] == ["not known: PBS's job 12.pbs01 is not asked"]


def test_a_container_without_scontrol(nowhere: pytest.MonkeyPatch) -> None:
    nowhere.setenv("PATH", "/nonexistent")
    nowhere.setenv("SLURM_JOB_ID", "7")
    left, told = job()
    assert left.found == "not known: scontrol does not answer of job 7"
    assert told.found.startswith("no batch script")


def test_a_shell_of_salloc_has_no_batch_script(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bug story: scontrol says so on its standard error and ends with 0: the script seemed to lack its signal."""
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho job script retrieval failed >&2\n", encoding="utf-8")
    (tmp_path / "scontrol").chmod(0o755)
    nowhere.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    nowhere.setenv("SLURM_JOB_ID", "7")
    (told,) = [check for check in job() if check.what == "signal"]
    assert (told.found.startswith("no batch script"), told.mend) == (True, "")
