"""No cell is submitted twice, whatever happens between intent, sbatch and its answer."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.study import submissions
from hpc_adabatch.study.cells import select
from hpc_adabatch.study.folder import StudyFolder
from hpc_adabatch.study.place import Order, parse_retry
from hpc_adabatch.study.places import place_of
from hpc_adabatch.study.slurm.cancel import cancel
from hpc_adabatch.study.slurm.commands import Slurm, SlurmError
from hpc_adabatch.study.slurm.search import find_states
from hpc_adabatch.study.slurm.submit import ON_ITS_WAY_S, dry_run, sbatch_command, submit
from hpc_adabatch.study.spec import Study

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
from fake_slurm import FakeSlurm
from planned import cells, fake_slurm, finish, impatient, planned, study_command, variables

pytestmark = pytest.mark.long


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return fake_slurm(tmp_path, monkeypatch)


def names(fake: FakeSlurm) -> list[str]:
    return [job["name"].split(":")[2] for job in fake.jobs()]


def call(study: Study, folder: StudyFolder, slurm: Slurm, **how: object) -> list[str]:
    return [cell.name for cell in submit(study, folder, slurm, study.cells, say=lambda _: None, **how)]  # type: ignore[arg-type]


def test_every_cell_once_and_only_once(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path)
    slurm = impatient(tmp_path)
    everything = [cell.name for cell in study.cells]
    assert call(study, folder, slurm) == everything
    assert call(study, folder, slurm) == []
    assert names(fake) == everything
    written = submissions.read(folder)
    assert {cell: [attempt.job_id for attempt in attempts] for cell, attempts in written.items()} == {
        name: [str(81001 + index)] for index, name in enumerate(everything)
    }


def test_the_call_of_sbatch(tmp_path: Path) -> None:
    study, folder = planned(tmp_path, sbatch=("--comment=it's", "--time=5"))
    cell = replace(study.cells[1], arguments=("--name=a b", "--policy.text=0:16 2ep:64"))
    out = folder.path / "cells" / "strong_n002_r1"
    assert sbatch_command(study, folder, cell, 2, after="81000") == [
        "sbatch",
        "--parsable",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--job-name=adabatch:scaling:strong_n002_r1:a1b2c3-2",
        f"--output={out}/slurm-%j.out",
        f"--chdir={tmp_path}",
        "--export=ALL,ADABATCH_LAUNCHER=srun",
        "--comment=it's",
        "--time=5",
        "--dependency=afterany:81000",
        str(folder.path / "train.sbatch"),
        "measure",
        str(folder.path / "recipe.yaml"),
        "--name=a b",
        "--policy.text=0:16 2ep:64",
        "--out",
        str(out),
    ]


def test_dry_run_prints_what_a_shell_turns_into_the_same_jobs_and_submit_knows_them(
    tmp_path: Path, fake: FakeSlurm
) -> None:
    odd = tmp_path / 'it\'s 100% "odd" $HOME'
    odd.mkdir()
    study, folder = planned(odd, sbatch=("--comment=two words; rm -rf *",))
    before = sorted(odd.rglob("*"))
    chosen = find_states(study, folder, impatient(odd)).to_start(study.cells, ())
    lines = list(dry_run(study, folder, chosen, ["SBATCH_PARTITION"], chain=True))
    assert sorted(odd.rglob("*")) == before
    assert fake.jobs() == []
    assert lines[:2] == ["unset SBATCH_PARTITION", f"cd {shlex.quote(str(odd))}"]
    subprocess.run(["bash", "-ec", "\n".join(lines)], check=True, cwd=tmp_path)
    wanted = [sbatch_command(study, folder, cell, 1)[1:] for cell in study.cells]
    without = [[word for word in job["arguments"] if "--dependency" not in word] for job in fake.jobs()]
    assert without == wanted
    assert "--dependency=afterany:81001" in fake.jobs()[1]["arguments"]
    assert call(study, folder, impatient(odd)) == []
    assert len(fake.jobs()) == len(study.cells)


def test_a_chain_waits_for_the_job_before_also_in_the_next_call(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path)
    slurm = impatient(tmp_path)
    submit(study, folder, slurm, study.cells[:2], chain=True, say=lambda _: None)
    call(study, folder, slurm, chain=True)
    after = [[word for word in job["arguments"] if "dependency" in word] for job in fake.jobs()]
    assert after == [[], *([f"--dependency=afterany:{81001 + index}"] for index in range(3))]


def test_a_dry_run_of_a_chain_goes_on_behind_the_job_that_waits(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path)
    submit(study, folder, impatient(tmp_path), study.cells[:2], chain=True, say=lambda _: None)
    lines = list(place_of(study, folder).lines(Order(cells=study.cells, chain=True)))
    assert "--dependency=afterany:81002" in lines[1]
    subprocess.run(["bash", "-ec", "\n".join(lines)], check=True, cwd=tmp_path)
    after = [[word for word in job["arguments"] if "dependency" in word] for job in fake.jobs()]
    assert after == [[], *([f"--dependency=afterany:{81001 + index}"] for index in range(3))]


def test_sbatch_refusing_half_way_loses_nothing(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path)
    slurm = impatient(tmp_path)
    fake.rule("sbatch", refuse_at=3)
    with pytest.raises(SlurmError) as caught:
        call(study, folder, slurm)
    assert str(caught.value) == (
        "strong_n001_r2: sbatch ended with 1 and said: sbatch: error: AssocMaxSubmitJobLimit; "
        "the 2 submitted before it stay; submit again to go on"
    )
    states = {status.cell.name: (status.state, status.reason) for status in find_states(study, folder, slurm).cells}
    assert states["strong_n001_r1"][0] == "PENDING"
    assert states["strong_n001_r2"][0] == "PLANNED"
    assert "AssocMaxSubmitJobLimit" in states["strong_n001_r2"][1]
    assert call(study, folder, slurm) == ["strong_n001_r2", "strong_n002_r2"]
    assert names(fake) == [cell.name for cell in study.cells]


@pytest.mark.parametrize("rule", ["time_out_at", "odd_at"])
def test_an_answer_that_leaves_open_whether_the_job_is_there(rule: str, tmp_path: Path, fake: FakeSlurm) -> None:
    """ "Socket timed out on send/recv operation" is said of jobs that slurmctld has taken."""
    study, folder = planned(tmp_path)
    fake.rule("sbatch", **{rule: 2})
    with pytest.raises(SlurmError, match="the 1 submitted before it stay"):
        call(study, folder, impatient(tmp_path))
    assert call(study, folder, impatient(tmp_path)) == ["strong_n001_r2", "strong_n002_r2"]
    assert names(fake) == [cell.name for cell in study.cells]


def test_nothing_is_submitted_while_it_is_not_known_what_is_there(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path)
    fake.rule("squeue", down=True)
    with pytest.raises(SlurmError, match="Unable to contact slurm controller"):
        call(study, folder, impatient(tmp_path))
    assert fake.calls("sbatch") == []


def test_a_job_that_ran_and_was_forgotten_while_submit_was_dead_is_known_by_its_output(
    tmp_path: Path, fake: FakeSlurm
) -> None:
    fake.rule("sacct", accounts=False)
    study, folder = planned(tmp_path)
    name = study.cells[0].name
    submissions.write(folder, name, 1, command=["sbatch"])
    (folder.make_cell(name) / "slurm-777.out").write_text("adabatch: error: no\n")
    assert name not in call(study, folder, impatient(tmp_path))
    assert submissions.read(folder)[name][0].job_id == "777"


def test_an_accounted_job_is_known_by_its_name(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path)
    cell = study.cells[0]
    submissions.write(folder, cell.name, 1, command=["sbatch"])
    fake.add(sbatch_command(study, folder, cell, 1)[1:])
    fake.change(81001, state="FAILED", known=["sacct"])
    assert cell.name not in call(study, folder, impatient(tmp_path))
    states = find_states(study, folder, impatient(tmp_path))
    assert (states.cells[0].state, states.cells[0].job_ids) == ("FAILED", ["81001"])


def test_a_job_that_submitted_its_own_successor_goes_on_in_it(tmp_path: Path, fake: FakeSlurm) -> None:
    """launch/job does where scontrol requeue is refused: the same name, a number that nobody has written down."""
    study, folder = planned(tmp_path)
    slurm = impatient(tmp_path)
    call(study, folder, slurm)
    fake.add(sbatch_command(study, folder, study.cells[0], 1)[1:])
    fake.change(81001, state="RUNNING")
    assert find_states(study, folder, slurm).cells[0].job_id == "81001"  # while it lasts
    fake.change(81001, state="FAILED")
    status = find_states(study, folder, slurm).cells[0]
    assert (status.state, status.job_ids) == ("PENDING", ["81001", "81005"])
    assert call(study, folder, slurm, retry=parse_retry("failed")) == []
    assert [attempt.job_id for attempt in submissions.read(folder)[study.cells[0].name]] == ["81001", "81005"]
    fake.change(81005, state="FAILED")
    assert call(study, folder, slurm, retry=parse_retry("failed")) == [study.cells[0].name]
    assert [job["name"][-2:] for job in fake.jobs()][-1] == "-3"


def test_retry_takes_the_states_that_are_named_and_no_others(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path)
    slurm = impatient(tmp_path)
    call(study, folder, slurm)
    for number, state in enumerate(("TIMEOUT", "OUT_OF_MEMORY", "FAILED", "RUNNING"), 81001):
        fake.change(number, state=state)
    assert call(study, folder, slurm) == []
    assert call(study, folder, slurm, retry=parse_retry("timeout,oom")) == ["strong_n001_r1", "strong_n002_r1"]
    assert [job["name"][-2:] for job in fake.jobs()] == ["-1"] * 4 + ["-2"] * 2
    fake.change(81005, state="TIMEOUT")
    finish(folder, "strong_n001_r1")
    assert call(study, folder, slurm, retry=parse_retry("timeout, OOM")) == []
    with pytest.raises(InputError, match="retry: given stalled; allowed: failed, timeout"):
        parse_retry("stalled")


def test_cells_are_chosen(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path)
    submit(study, folder, impatient(tmp_path), select(study.cells, "nodes=2,repeat=1"), say=lambda _: None)
    assert names(fake) == ["strong_n002_r1"]


def test_cancel_ends_what_waits_or_runs(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path)
    slurm = impatient(tmp_path)
    call(study, folder, slurm)
    fake.change(81001, state="RUNNING")
    fake.change(81002, state="FAILED")
    finish(folder, "strong_n001_r2")
    assert [status.cell.name for status in cancel(study, folder, slurm, study.cells)] == [
        "strong_n001_r1",
        "strong_n002_r2",
    ]
    assert fake.calls("scancel")[0]["arguments"] == ["81001", "81004"]
    for number in range(81001, 81005):
        fake.change(number, known=[])
    states = {status.cell.name: status.state for status in find_states(study, folder, slurm).cells}
    assert states == {
        "strong_n001_r1": "CANCELLED",
        "strong_n002_r1": "LOST",
        "strong_n001_r2": "OK",
        "strong_n002_r2": "CANCELLED",
    }


# --- real processes ---------------------------------------------------------------------------------------------------


def test_two_submits_at_once_submit_each_cell_once(tmp_path: Path, fake: FakeSlurm) -> None:
    study, _ = planned(tmp_path, cells((1, 2, 4), 3))
    both = [study_command(tmp_path, "submit", "scaling") for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    codes = sorted(process.returncode for process in both)
    assert Counter(names(fake)) == Counter(cell.name for cell in study.cells), said
    assert codes in ([0, 0], [0, 2]), said
    if codes == [0, 2]:
        error = said[[process.returncode for process in both].index(2)][1]
        assert error.count("\n") == 1
        assert "in use by process" in error


def make_older(folder: StudyFolder, seconds: float) -> None:
    """Writes an earlier time into the last line of what was submitted: so long ago was submit killed."""
    *lines, last = folder.submissions.read_text().splitlines()
    content = json.loads(last)
    content["time"] = (datetime.fromisoformat(content["time"]) - timedelta(seconds=seconds)).isoformat()
    folder.submissions.write_text("\n".join([*lines, json.dumps(content), ""]))


@pytest.mark.parametrize(("rule", "there"), [("kill_at", 2), ("kill_before_at", 1)])
def test_a_submit_killed_in_the_middle_is_taken_up(rule: str, there: int, tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path)
    fake.rule("sbatch", **{rule: 2})
    killed = study_command(tmp_path, "submit", "scaling")
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    assert len(fake.jobs()) == there
    fake.rule("sbatch")
    make_older(folder, ON_ITS_WAY_S - 7)  # not all of it: a slow machine must find something left to wait for
    again = study_command(tmp_path, "submit", "scaling")
    said, errors = again.communicate(timeout=60)
    assert (again.returncode, errors) == (0, "")
    assert Counter(names(fake)) == Counter(cell.name for cell in study.cells)
    if rule == "kill_at":
        assert "job 81002, which an earlier call has submitted" in said
    else:
        assert "waiting" in said
        killed_at, again_at = (attempt.began_s for attempt in submissions.read(folder)[study.cells[1].name])
        assert again_at - killed_at >= ON_ITS_WAY_S
    assert all(attempts[-1].job_id for attempts in submissions.read(folder).values())


def test_an_sbatch_that_hangs_is_given_up_and_the_study_goes_on(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path)
    fake.rule("sbatch", hang_at=1)
    with pytest.raises(SlurmError, match="sbatch did not answer within 1 s; nothing was submitted"):
        call(study, folder, Slurm(tmp_path, patience_s=1))
    assert submissions.read(folder)["strong_n001_r1"][0].refused is False
    assert variables(tmp_path)["FAKE_SLURM"] == fake.root
