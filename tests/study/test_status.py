"""Every state, from the source that knows it best."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from hpc_adabatch.study import submissions
from hpc_adabatch.study.folder import StudyFolder
from hpc_adabatch.study.slurm.search import find_states, remember
from hpc_adabatch.study.slurm.submit import sbatch_command
from hpc_adabatch.study.spec import Study
from hpc_adabatch.study.state import State
from hpc_adabatch.study.status import CellStatus

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
from fake_slurm import FakeSlurm
from planned import cells, fake_slurm, finish, impatient, planned

pytestmark = pytest.mark.long

TIME_LIMIT = "slurmstepd: error: *** JOB 81001 ON node1 CANCELLED AT 2026-11-21T15:08:27 DUE TO TIME LIMIT ***\n"


class Site:
    """One cell, submitted as job 81001."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = folder
        self.fake: FakeSlurm = fake_slurm(folder, monkeypatch)
        self.study: Study
        self.folder: StudyFolder
        self.study, self.folder = planned(folder, cells((1,), 1))
        self.cell = self.study.cells[0].name
        command = sbatch_command(self.study, self.folder, self.study.cells[0], 1)
        self.folder.make_cell(self.cell)
        submissions.write(self.folder, self.cell, 1, command=command)  # as submit does, which has tests of its own
        submissions.write(self.folder, self.cell, 1, job_id=str(self.fake.add(command[1:])))

    def job(self, **fields: object) -> None:
        self.fake.change(81001, **fields)

    def write(self, name: str, text: str, age_s: float = 0.0) -> None:
        path = self.folder.cell(self.cell) / name
        path.write_text(text, encoding="utf-8")
        for moved in (path, path.parent):
            os.utime(moved, (time.time() - age_s,) * 2)

    def status(self, stall_s: float = 600) -> CellStatus:
        states = find_states(self.study, self.folder, impatient(self.directory), stall_s)
        return states.cells[0]

    def state(self) -> tuple[str, str]:
        found = self.status()
        return found.state, found.reason


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("told", "reason", "state"),
    [
        ("PENDING", "Priority", "PENDING"),
        ("RUNNING", "None", "RUNNING"),
        ("COMPLETED", "None", "FAILED"),
        ("FAILED", "NonZeroExitCode", "FAILED"),
        ("TIMEOUT", "TimeLimit", "TIMEOUT"),
        ("OUT_OF_MEMORY", "OutOfMemory", "OOM"),
        ("NODE_FAIL", "NodeDown", "NODE_FAIL"),
        ("PREEMPTED", "None", "PREEMPTED"),
        ("CANCELLED", "Dependency", "CANCELLED"),
    ],
)
@pytest.mark.parametrize("source", ["squeue", "sacct", "scontrol"])
def test_states_by_slurm(site: Site, source: str, told: str, reason: str, state: str) -> None:
    """sacct alone is not believed about a job that runs: accounts may have missed its end."""
    site.job(state=told, reason=reason, known=[source])
    site.fake.rule("sacct", accounts=source == "sacct")
    if source == "sacct" and state in ("PENDING", "RUNNING"):
        state = "LOST"
    found = site.status()
    assert found.state == state
    if state == "NODE_FAIL" and source != "sacct":
        assert found.reason == "NODE_FAIL (NodeDown)"
    if told == "COMPLETED":
        assert "but there is no result.json" in found.reason


def test_a_complete_result_counts_and_nothing_else(site: Site) -> None:
    """srun can return 0 for a job that was killed, and a job can fail after its result is there."""
    site.job(state="NODE_FAIL")
    site.write("result.json", '{"kind": "meas')
    assert site.status().state == "NODE_FAIL"
    finish(site.folder, site.cell)
    assert site.state() == ("OK", "")
    site.job(state="COMPLETED", known=[])
    site.fake.rule("squeue", down=True)
    assert site.state() == ("OK", "")


def test_a_job_that_slurm_has_forgotten_is_known_by_its_output(site: Site) -> None:
    site.job(known=[])
    assert site.state() == ("LOST", "Slurm does not know the job, and there is no result.json")
    site.write("slurm-81001.out", "epoch 1\n" * 5000 + TIME_LIMIT)
    assert site.state() == ("TIMEOUT", TIME_LIMIT.strip())
    site.write("slurm-81001.out", "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=81001.0.\n")
    assert site.status().state == "OOM"
    site.write("slurm-81001.out", "epoch 1\n")
    assert site.status().state == "LOST"


def test_what_slurm_said_last_is_remembered(site: Site) -> None:
    """Without accounts Slurm forgets a job that was cancelled while it waited, and there is no output."""
    site.fake.rule("sacct", accounts=False)
    site.job(state="CANCELLED", start="2026-11-21T15:00:00", end="2026-11-21T15:00:00")
    states = find_states(site.study, site.folder, impatient(site.directory))
    remember(site.folder, states)
    remember(site.folder, find_states(site.study, site.folder, impatient(site.directory)))
    site.job(known=[])
    assert site.status().state == "CANCELLED"
    lines = site.folder.submissions.read_text().splitlines()
    assert sum("seen" in json.loads(line) for line in lines) == 1


def test_remembering_gives_way_to_a_submit_and_to_a_folder_that_is_closed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.job(state="FAILED")
    states = find_states(site.study, site.folder, impatient(site.directory))
    before = site.folder.submissions.read_text()
    with site.folder.lock():
        remember(site.folder, states)
    monkeypatch.setattr(site.folder, "submissions", Path("/proc/submissions.jsonl"))
    remember(site.folder, states)
    monkeypatch.undo()
    assert site.folder.submissions.read_text() == before


def test_while_squeue_does_not_answer_nothing_is_lost(site: Site) -> None:
    """What is called LOST may be submitted again: a controller that restarts must not double a study."""
    site.job(known=[])
    site.fake.rule("squeue", down=True)
    assert site.state() == ("PENDING", "squeue does not answer")
    site.job(state="TIMEOUT", known=["sacct"])
    assert site.status().state == "TIMEOUT"


def test_a_running_job_whose_files_stand_still_is_stalled(site: Site) -> None:
    site.job(state="RUNNING")
    site.write("journal.jsonl", "{}\n", age_s=500)
    assert site.state() == ("RUNNING", "")
    site.write("journal.jsonl", "{}\n", age_s=700)
    assert site.status().state == "STALLED"
    assert "nothing has moved for 70" in site.status().reason
    site.write("owner.json", "{}\n", age_s=700)
    os.utime(site.folder.cell(site.study.cells[0].name) / "owner.json")  # the process lives, and its ranks stand still
    assert site.status().state == "STALLED"
    assert site.status(stall_s=800).state == "RUNNING"
    site.write("slurm-81001.out", "epoch 1\n")
    assert site.state() == ("RUNNING", "")


def test_a_requeued_job_says_how_often(site: Site) -> None:
    site.job(state="PENDING", reason="BeginTime", restarts=2)
    assert site.state() == ("PENDING", "PENDING (BeginTime); restarted 2 time(s)")


def test_an_intent_without_a_job_is_planned_and_one_with_a_job_is_found(site: Site) -> None:
    lines = site.folder.submissions.read_text().splitlines()
    site.folder.submissions.write_text(lines[0] + "\n")  # cut short after the intent
    found = site.status()
    assert (found.state, found.found, found.job_ids) == ("PENDING", ("81001",), ["81001"])
    site.job(known=[])
    assert site.state() == ("PLANNED", "sbatch was cut short; submit looks for the job")
    site.fake.rule("squeue", down=True)
    assert site.status().state == "PENDING"


def test_a_target_that_was_not_reached_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_slurm(tmp_path, monkeypatch)
    study, folder = planned(tmp_path, cells((1,), 2, "adaptive"), until="accuracy=0.99")
    finish(folder, study.cells[0].name, reached=None)
    finish(folder, study.cells[1].name, reached={"metric": "accuracy"})
    found = find_states(study, folder, impatient(tmp_path)).cells
    assert [(status.state, status.reason) for status in found] == [("OK", "ended without accuracy=0.99"), ("OK", "")]


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (("OK", "OK"), 0),
        (("OK", "PLANNED"), 3),
        (("PENDING", "RUNNING"), 3),
        (("OK", "TIMEOUT"), 4),
        (("RUNNING", "LOST"), 4),
        (("OK", "STALLED"), 4),
    ],
)
def test_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: tuple[str, ...], code: int) -> None:
    fake_slurm(tmp_path, monkeypatch)
    study, folder = planned(tmp_path, cells((1, 2), 1))
    found = find_states(study, folder, impatient(tmp_path))
    for index, state in enumerate(states):
        found.cells[index] = CellStatus(cell=study.cells[index], state=State(state))
    assert found.exit_code() == code


def test_a_study_whose_jobs_were_never_called_is_planned_without_any_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, folder = planned(tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    found = find_states(study, folder, impatient(tmp_path))
    assert {status.state for status in found.cells} == {"PLANNED"}
    assert found.silent is not None
    assert submissions.read(folder) == {}
