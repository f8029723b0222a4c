"""What Slurm's commands print, and how they fail.

The columns of squeue and the line of a requeued job are as Slurm 22.05 printed them; the other texts are written after
its manual pages, and cover what a small cluster does not print (accounts, failed nodes, memory limits).
"""

from __future__ import annotations

import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hpc_adabatch.study.job import Job, last_cue
from hpc_adabatch.study.slurm.answers import COLUMNS, accounting, control, queue, state_of, with_log
from hpc_adabatch.study.slurm.commands import Slurm, SlurmError, clean_environment
from hpc_adabatch.study.state import State

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
from planned import ROOT, fake_slurm

pytestmark = pytest.mark.long


def row(**fields: object) -> str:
    return "".join(str(fields.get(name, ""))[:width].ljust(width) for name, width in COLUMNS.items())


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_squeues_columns() -> None:
    waiting = row(JobID=8, State="PENDING", RestartCnt=2, Reason="Dependency", SubmitTime="2026-11-21T15:08:15",
                  StartTime="N/A", EndTime="N/A", Name="adabatch:a | b:c d")  # fmt: skip
    ended = row(JobID=5, State="FAILED", RestartCnt=0, Reason="NonZeroExitCode", SubmitTime="2026-11-21T15:08:15",
                StartTime="2026-11-21T15:08:16", EndTime="2026-11-21T15:09:16", Name="x")  # fmt: skip
    array = row(JobID="9_[1-3]", State="PENDING", Name="somebody's array")
    first, second = queue("\n".join((waiting, ended, array, "")))
    assert (first.job_id, first.name, first.state, first.restarts) == ("8", "adabatch:a | b:c d", "PENDING", 2)
    assert (first.began_s, first.told, first.state.over) == (None, "PENDING (Dependency)", False)
    assert (second.state, second.told, second.state.over) == ("FAILED", "FAILED (NonZeroExitCode)", True)
    assert second.ended_s is not None
    assert second.ended_s - (second.began_s or 0) == 60


def test_sacct_adds_up_what_all_starts_of_a_job_used() -> None:
    text = (
        "7|adabatch:a|PREEMPTED|2024-11-21T14:00:00|2024-11-21T14:01:00|2024-11-21T14:11:00|600|0:0|2\n"
        "7|adabatch:a|CANCELLED by 1000|2024-11-21T14:11:00|2024-11-21T14:20:00|2024-11-21T14:25:00|300|0:15|2\n"
        "8|b|RUNNING|2024-11-21T14:00:00|2024-11-21T14:01:00|Unknown|60|0:0|1\n"
        "8.batch|batch|RUNNING|||Unknown|60|0:0|1\n"
    )
    first, second = accounting(text)
    assert first == Job(
        job_id="7",
        name="adabatch:a",
        state=State.CANCELLED,
        told="CANCELLED by 1000",
        nodes=2,
        restarts=1,
        submitted_s=at("2024-11-21T14:11:00"),
        began_s=at("2024-11-21T14:20:00"),
        ended_s=at("2024-11-21T14:25:00"),
        used_s=900.0,
    )
    assert (second.state, second.ended_s, second.state.over) == ("RUNNING", None, False)


def test_sacct_tells_the_energy_of_all_starts_and_how_busy_the_gpus_were_in_the_longest_step() -> None:
    """As Slurm 23.11 with gres/gpuutil in AccountingStorageTRES; ENERGY is one of its numbers for no value."""
    times = "2024-11-21T14:00:00|2024-11-21T14:01:00|2024-11-21T14:11:00"
    no_energy = 18446744073709551614
    text = (
        f"7|adabatch:a|PREEMPTED|{times}|600|0:0|2|3600000|\n"
        f"7.batch|batch|CANCELLED|{times}|600|0:15|2|10|cpu=00:00:01,energy=10,gres/gpumem=0,gres/gpuutil=0\n"
        f"7|adabatch:a|COMPLETED|{times}|300|0:0|2|1800000|\n"
        f"7.0|true|COMPLETED|{times}|2|0:0|2|0|cpu=00:00:00,gres/gpuutil=0,mem=0\n"
        f"7.1|adabatch|COMPLETED|{times}|290|0:0|2|1790000|cpu=00:52:45,gres/gpumem=21794M,gres/gpuutil=93,mem=9\n"
        f"8|b|COMPLETED|{times}|60|0:0|2|{no_energy}|\n"
        f"8.0|b|COMPLETED|{times}|60|0:0|2||cpu=00:00:01\n"
        f"9|c|COMPLETED|{times}|60|0:0|2|0|\n"
    )
    found = accounting(text)
    assert [(job.job_id, job.used_s, job.energy_j, job.gpu_percent) for job in found] == [
        ("7", 900.0, 5.4e6, 93.0),
        ("8", 60.0, None, None),
        ("9", 60.0, None, None),
    ]


def test_scontrols_line_is_read_up_to_what_a_user_may_write_himself() -> None:
    text = (
        "JobId=7 JobName=adabatch:a UserId=root(0) Priority=4294901757 JobState=TIMEOUT Reason=TimeLimit "
        "Dependency=(null) Requeue=1 Restarts=3 SubmitTime=2026-11-21T15:08:15 StartTime=2026-11-21T15:08:17 "
        "EndTime=2026-11-21T15:10:17 Comment=JobState=OK Restarts=9"
    )
    job = control(text)
    assert job is not None
    assert (job.job_id, job.state, job.told, job.restarts) == ("7", "TIMEOUT", "TIMEOUT (TimeLimit)", 3)
    assert control("slurm_load_jobs error: Invalid job id specified") is None


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ("PENDING", "PENDING"),
        ("CONFIGURING", "PENDING"),
        ("COMPLETING", "RUNNING"),
        ("SUSPENDED", "RUNNING"),
        ("COMPLETED", "OK"),
        ("OUT_OF_MEMORY", "OOM"),
        ("BOOT_FAIL", "NODE_FAIL"),
        ("NODE_FAIL+", "NODE_FAIL"),
        ("DEADLINE", "TIMEOUT"),
        ("CANCELLED by 1000", "CANCELLED"),
        ("SOMETHING_NEW", "LOST"),
        ("", "LOST"),
    ],
)
def test_slurms_states(told: str, state: str) -> None:
    assert state_of(told) == state


CANCELLED = "slurmstepd-node1: error: *** JOB 7 ON node1 CANCELLED AT 2026-11-21T15:08:27"
TIME_LIMIT = f"{CANCELLED} DUE TO TIME LIMIT ***"
OOM = "slurmstepd-node1: error: Detected 1 oom-kill event(s) in StepId=7.0. Some of your processes may have been killed"
STEP = "slurmstepd-node1: error: *** STEP 7.0 ON node1 CANCELLED AT 2026-11-21T15:08:27 ***"
REQUEUE = f"{CANCELLED} DUE TO JOB REQUEUE ***"


@pytest.mark.parametrize(
    ("log", "state"),
    [
        (TIME_LIMIT, "TIMEOUT"),
        (f"{OOM}\n{STEP}\n", "OOM"),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "OOM"),
        (f"{CANCELLED} DUE TO PREEMPTION ***\nsrun: Job step aborted", "PREEMPTED"),
        (f"{CANCELLED} ***", "CANCELLED"),
        (f"{CANCELLED} DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***", "NODE_FAIL"),
        ("adabatch: error: global_batch: given 5000\nsrun: error: node1: task 0: Exited with exit code 2", "FAILED"),
        (f"{REQUEUE}\nepoch 1\n", None),
        (STEP, None),
        ("", None),
    ],
)  # fmt: skip
def test_the_end_of_a_jobs_output(log: str, state: str | None) -> None:
    cue = last_cue(log)
    assert (cue[0] if cue is not None else None) == state


def test_a_step_out_of_memory_in_a_job_that_just_failed() -> None:
    """Without a memory cgroup for the batch step Slurm calls such a job FAILED."""
    job = Job(job_id="7", state=State.FAILED, told="FAILED (NonZeroExitCode)")
    assert with_log(job, [OOM, STEP]).state == "OOM"
    assert with_log(job, ["adabatch: error: no"]).state == "FAILED"
    assert with_log(job, ["adabatch: error: no"]).told == "FAILED (NonZeroExitCode): adabatch: error: no"
    assert with_log(Job(job_id="7", state=State.TIMEOUT, told="TIMEOUT"), [OOM]).state == "TIMEOUT"


ODD = {  # what Slurm 22.05 answers so that nobody may build on it: a call, and what is asked in its place
    r"show hostnames": "scontrol show hostnames 'n[1-2]-ib'",  # prints nothing, and ends with 0: srun prints the names
    r"SLURM_TASKS_PER_NODE": "$SLURM_TASKS_PER_NODE",  # 2(x3) of 5 tasks, two a node: as srun places them
    r"squeue\b.*--json": "squeue --json --user=me",  # all users' jobs, those that ended too: --Format and --user
    r"sbatch\b.*--wait\b": "sbatch --wait job",  # 0 of a job that was cancelled while it waited: its state
    r"afterok": "sbatch --dependency=afterok:1",  # dropped where job 1 is not known; else never met: afterany
}


@pytest.mark.parametrize("pattern", ODD)
def test_nothing_is_asked_that_slurm_answers_oddly(pattern: str) -> None:
    assert re.search(pattern, ODD[pattern])
    places = ("launch/*", "slurm/*", "hpc_adabatch/study/**/*.py", "hpc_adabatch/environment.py")
    for path in (path for place in places for path in ROOT.glob(place) if path.is_file()):
        code = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
        assert [line for line in code if re.search(pattern, line.partition(" # ")[0])] == [], path.name


def test_squeue_is_asked_for_ones_own_jobs_in_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_slurm(tmp_path, monkeypatch)
    Slurm(tmp_path).queue()
    (call,) = fake.calls("squeue")
    assert f"--user={os.getuid()}" in call["arguments"]
    assert "--json" not in call["arguments"]


# --- the commands -----------------------------------------------------------------------------------------------------


CALL = ["sbatch", "--parsable", "--job-name=adabatch:a", "script"]


def test_a_number_between_a_sites_greetings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_slurm(tmp_path, monkeypatch)
    assert Slurm(tmp_path).submit(CALL) == "81001"
    assert fake.calls("sbatch")[0]["cwd"] == str(tmp_path)


@pytest.mark.parametrize(
    ("rule", "unsure", "line"),
    [
        ("refuse_at", False, "sbatch ended with 1 and said: sbatch: error: AssocMaxSubmitJobLimit"),
        ("time_out_at", True, "Socket timed out"),
        ("odd_at", True, "sbatch answered 'lua: welcome to the cluster', and not a job's number"),
        ("hang_at", True, "sbatch did not answer within 1 s"),
    ],
)
def test_an_sbatch_that_fails_says_whether_a_job_may_be_there(
    rule: str, unsure: bool, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_slurm(tmp_path, monkeypatch).rule("sbatch", **{rule: 1})
    with pytest.raises(SlurmError) as caught:
        Slurm(tmp_path, patience_s=1 if rule == "hang_at" else 20).submit(CALL)
    assert caught.value.unsure is unsure
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_variables_that_win_over_the_script_are_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_slurm(tmp_path, monkeypatch)
    for name in ("SBATCH_PARTITION", "SBATCH_TIMELIMIT", "SQUEUE_STATES", "SACCT_FEDERATION"):
        monkeypatch.setenv(name, "debug")
    monkeypatch.setenv("SLURM_CLUSTERS", "big")
    slurm = Slurm(tmp_path)
    slurm.submit(CALL)
    slurm.queue()
    assert [call["variables"] for call in (*fake.calls("sbatch"), *fake.calls("squeue"))] == [{}, {}]
    kept, taken = clean_environment()
    assert taken == ["SBATCH_PARTITION", "SBATCH_TIMELIMIT"]
    assert kept["SLURM_CLUSTERS"] == "big"
    assert kept["PATH"] == os.environ["PATH"]


def test_a_job_submitted_in_another_inherits_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_slurm(tmp_path, monkeypatch)
    allocation = (
        "SLURM_CPU_BIND",
        "SLURM_MEM_PER_CPU",
        "SLURM_TRES_PER_TASK",
        "SLURM_STEP_ID",
        "PMI_RANK",
        "PMIX_RANK",
    )
    for name in (*allocation, "SLURM_CONF", "PMIX_MCA_gds"):
        monkeypatch.setenv(name, "1")
    assert set(allocation) <= clean_environment()[0].keys()  # whoever is in no job has set them on purpose
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    kept, taken = clean_environment()
    assert set(taken) >= {*allocation, "SLURM_JOB_ID"}
    assert not set(taken) & kept.keys()
    assert {"SLURM_CONF", "PMIX_MCA_gds", "PATH"} <= kept.keys()
    Slurm(tmp_path).submit(CALL)
    assert fake.calls("sbatch")[0]["variables"] == {}


def test_a_site_without_slurm_and_one_without_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_slurm(tmp_path, monkeypatch)
    fake.rule("sacct", accounts=False)
    slurm = Slurm(tmp_path)
    assert slurm.accounting(job_ids=["81001"]) is None
    assert slurm.control("81001") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match=r"squeue: No such file or directory"):
        slurm.queue()


def test_jobs_are_found_by_name_in_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_slurm(tmp_path, monkeypatch)
    slurm = Slurm(tmp_path)
    slurm.submit(CALL)
    slurm.submit([word.replace(":a", ":b") for word in CALL])
    fake.change(81002, state="COMPLETED", known=["sacct"])
    assert [job.name for job in slurm.queue()] == ["adabatch:a"]
    found: Any = slurm.accounting(names=["adabatch:b"], since="2024-11-21")
    assert [(job.job_id, job.state) for job in found] == [("81002", "OK")]
