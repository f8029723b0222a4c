"""results.csv: every cell with its numbers or its reason, and the hours that it used."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hpc_adabatch.study import submissions
from hpc_adabatch.study.collect import collect, write_results
from hpc_adabatch.study.folder import StudyFolder
from hpc_adabatch.study.places import place_of
from hpc_adabatch.study.results import CellResult, from_csv
from hpc_adabatch.study.slurm.commands import Slurm
from hpc_adabatch.study.slurm.queue import accounts
from hpc_adabatch.study.slurm.search import find_states, remember
from hpc_adabatch.study.slurm.submit import sbatch_command, submit
from hpc_adabatch.study.spec import Study
from hpc_adabatch.study.state import State

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
from fake_slurm import FakeSlurm
from planned import cells, fake_slurm, finish, impatient, planned

pytestmark = pytest.mark.long

TRAINED: dict[str, Any] = {  # as docs/run-folder.md has it
    "kind": None,
    "task": "digits",
    "steps": 900,
    "samples_seen": 14400,
    "wall_s": 61.5,
    "samples_per_s": 250.0,
    "initial_global_batch": 16,
    "final_global_batch": 64,
    "metric": {"name": "accuracy", "value": 0.953},
    "reached": {"metric": "accuracy", "target": 0.92, "epoch": 6, "step": 700, "samples": 9000, "wall_s": 40.0},
}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return fake_slurm(tmp_path, monkeypatch)


def collected(study: Study, folder: StudyFolder, slurm: Slurm) -> dict[str, CellResult]:
    states = find_states(study, folder, slurm)
    remember(folder, states)
    return {result.cell: result for result in collect(folder, states, accounts(states, slurm))}


def run(fake: FakeSlurm, number: int, nodes_s: int, **more: Any) -> None:
    """The job waited for 90 s, and ran."""
    times = {"submit": "2026-11-21T15:00:00", "start": "2026-11-21T15:01:30", "end": f"2026-11-21T15:0{nodes_s}:30"}
    fake.change(number, **times, elapsed=60 * (nodes_s - 1), **more)


def test_numbers_of_a_measurement_and_of_a_training(tmp_path: Path, fake: FakeSlurm) -> None:
    own = cells((1, 2), 1) + cells((2,), 1, "adaptive")
    study, folder = planned(tmp_path, own)
    slurm = impatient(tmp_path)
    submit(study, folder, slurm, study.cells, say=lambda _: None)
    finish(folder, "strong_n002_r1", global_batch=32)
    finish(folder, "adaptive_n002_r1", **TRAINED)
    run(fake, 81002, 7, state="COMPLETED")
    found = collected(study, folder, slurm)
    measured, trained = found["strong_n002_r1"], found["adaptive_n002_r1"]
    assert (measured.step_s, measured.step_lower_s, measured.step_upper_s) == (0.1, 0.09, 0.12)
    assert (measured.global_batch, measured.gradient_bytes, measured.exposed_s) == (32, 4000, 0.02)
    assert measured.node_hours == pytest.approx(2 * 360 / 3600)
    assert (measured.wait_s, measured.wall_s, measured.metric) == (90.0, None, "")
    assert (trained.global_batch, trained.final_global_batch, trained.samples, trained.updates) == (16, 64, 14400, 900)
    assert (trained.metric, trained.value, trained.step_s) == ("accuracy", 0.953, None)
    assert (trained.reached_wall_s, trained.reached_samples, trained.reached_updates) == (40.0, 9000, 700)
    assert (found["strong_n001_r1"].state, found["strong_n001_r1"].node_hours) == ("PENDING", 0.0)
    write_results(folder, list(found.values()))
    assert from_csv(folder.results.read_text()) == list(found.values())


def test_energy_and_gpus_are_what_the_accounts_say_else_what_nvidia_smi_wrote(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path, cells((1, 2, 4), 1))
    slurm = impatient(tmp_path)
    submit(study, folder, slurm, study.cells, say=lambda _: None)
    for number, cell in enumerate(study.cells, 81001):
        finish(folder, cell.name)
        (folder.cell(cell.name) / f"nvidia-smi-{number}.csv").write_text("60, 200.0\n80, 300.0\n", encoding="utf-8")
    run(fake, 81001, 3, state="COMPLETED", energy=3600, busy=95, restarts=1)
    run(fake, 81002, 3, state="COMPLETED", energy=0)
    fake.change(81003, state="COMPLETED", known=["squeue"])
    found = collected(study, folder, slurm).values()
    assert [(one.energy_j, one.gpu_percent, one.gpu_watts) for one in found] == [
        (7200.0, 95.0, 250.0),
        (None, 70.0, 250.0),
        (None, 70.0, 250.0),
    ]


def test_failed_cells_stay_with_their_reason_and_all_attempts_count(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path, cells((2,), 2))
    slurm = impatient(tmp_path)
    submit(study, folder, slurm, study.cells, say=lambda _: None)
    run(fake, 81001, 6, state="TIMEOUT", reason="TimeLimit", known=["sacct"])
    submit(study, folder, slurm, study.cells, retry=(State.TIMEOUT,), say=lambda _: None)
    run(fake, 81003, 3, state="OUT_OF_MEMORY", reason="OutOfMemory")
    found = collected(study, folder, slurm)["strong_n002_r1"]
    assert (found.state, found.reason, found.job_ids, found.attempts) == (
        *("OOM", "OUT_OF_MEMORY (OutOfMemory)", "81001 81003", 2),
    )
    assert found.node_hours == pytest.approx(2 * (300 + 120) / 3600)
    assert found.step_s is None


def test_requeued_jobs_use_hours_at_every_start(tmp_path: Path, fake: FakeSlurm) -> None:
    study, folder = planned(tmp_path, cells((2,), 1))
    slurm = impatient(tmp_path)
    submit(study, folder, slurm, study.cells, say=lambda _: None)
    run(fake, 81001, 3, state="COMPLETED", restarts=2)
    finish(folder, "strong_n002_r1")
    assert collected(study, folder, slurm)["strong_n002_r1"].node_hours == pytest.approx(2 * 3 * 120 / 3600)


def test_a_run_that_went_from_job_to_job_has_the_hours_of_each_on_its_nodes(tmp_path: Path, fake: FakeSlurm) -> None:
    """The study looked at it when it was over: of its later jobs nothing is written down but their output."""
    study, folder = planned(tmp_path, cells((1,), 1, "follow"))
    slurm = impatient(tmp_path)
    submit(study, folder, slurm, study.cells, say=lambda _: None)
    cell = study.cells[0]
    for nodes in (2, 4):
        fake.add([word.replace("--nodes=1", f"--nodes={nodes}") for word in sbatch_command(study, folder, cell, 1)][1:])
    for number, minute in zip((81001, 81002, 81003), (3, 4, 6), strict=True):
        run(fake, number, minute, state="COMPLETED", known=["sacct"])
        (folder.cell(cell.name) / f"slurm-{number}.out").write_text("", encoding="utf-8")
    starts = [("start", 0.0, 1), ("resume", 100.0, 2), ("resume", 140.0, 4), ("evaluation", 200.0, 4)]
    lines = [json.dumps({"kind": kind, "time_s": time_s, "world_size": ranks}) for kind, time_s, ranks in starts]
    (folder.cell(cell.name) / "journal.jsonl").write_text("\n".join(lines), encoding="utf-8")
    finish(folder, cell.name, **TRAINED | {"wall_s": 200.0, "reached": TRAINED["reached"] | {"wall_s": 120.0}})
    found = collected(study, folder, slurm)[cell.name]
    assert (found.state, found.job_ids, found.attempts) == ("OK", "81001 81002 81003", 3)
    assert found.node_hours == pytest.approx((1 * 120 + 2 * 180 + 4 * 300) / 3600)
    assert found.wait_s == 3 * 90
    assert found.run_node_hours == pytest.approx((1 * 100 + 2 * 20) / 3600)

    fake.rule("sacct", accounts=False)
    found = collected(study, folder, slurm)[cell.name]
    assert found.node_hours == pytest.approx((1 * 100 + 2 * 40 + 4 * 60) / 3600)  # by its own clock
    assert submit(study, folder, slurm, study.cells, say=lambda _: None) == []
    attempts = submissions.read(folder)[cell.name]
    assert [(one.number, one.job_id) for one in attempts] == [(1, "81001"), (2, "81002"), (3, "81003")]


def test_without_accounts_the_hours_are_what_slurm_said_when_it_was_asked(tmp_path: Path, fake: FakeSlurm) -> None:
    fake.rule("sacct", accounts=False)
    study, folder = planned(tmp_path, cells((2,), 1))
    slurm = impatient(tmp_path)
    submit(study, folder, slurm, study.cells, say=lambda _: None)
    finish(folder, "strong_n002_r1")
    run(fake, 81001, 3, state="COMPLETED")
    before = collected(study, folder, slurm)["strong_n002_r1"]
    fake.change(81001, known=[])
    assert collected(study, folder, slurm)["strong_n002_r1"] == before
    assert (before.node_hours, before.wait_s) == (pytest.approx(2 * 120 / 3600), 90.0)


def test_without_accounts_a_training_tells_its_own_hours(tmp_path: Path, fake: FakeSlurm) -> None:
    fake.rule("sacct", accounts=False)
    study, folder = planned(tmp_path, cells((2, 4), 1, "adaptive"))
    slurm = impatient(tmp_path)
    submit(study, folder, slurm, study.cells, say=lambda _: None)
    fake.change(81001, known=[])
    fake.change(81002, known=[])
    lines = [
        json.dumps({"kind": "start", "time_s": 0.0}),
        json.dumps({"kind": "step", "time_s": 180.0}),
        '{"kind": "st',
    ]
    (folder.cell("adaptive_n002_r1") / "journal.jsonl").write_text("\n".join(lines))
    found = collected(study, folder, slurm)
    assert found["adaptive_n002_r1"].node_hours == pytest.approx(2 * 180 / 3600)
    assert (found["adaptive_n004_r1"].state, found["adaptive_n004_r1"].node_hours) == ("LOST", None)


def test_hours_of_cells_on_this_machine_are_those_that_were_written_down(tmp_path: Path) -> None:
    study, folder = planned(tmp_path, cells((2,), 1), where="local", template="")
    times = ("2026-11-21T15:00:00+00:00", "2026-11-21T15:06:00+00:00")
    for time, more in zip(times, ({"command": ["x"]}, {"exit_code": 1, "stopped": ""}), strict=True):
        folder.append(json.dumps({"cell": "strong_n002_r1", "attempt": 1, "time": time, **more}))
    assert submissions.read(folder)["strong_n002_r1"][0].exit_code == 1
    place = place_of(study, folder)
    states = place.look()
    found = collect(folder, states, place.accounts(states))[0]
    assert (found.state, found.reason, found.attempts, found.node_hours) == ("FAILED", "exit code 1", 1, 0.2)
