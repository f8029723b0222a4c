"""A whole study on a real Slurm, with everything that goes wrong on the way; what it says is exactly what happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster import SlurmCluster

from hpc_adabatch.study.results import CellResult, from_csv

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).resolve().parents[2]
PLAN = [
    "--mode=strong,adaptive",
    "--nodes=1,2,4",
    "--repeats=2",
    "--warmup=5",
    "--steps=20",
    "--sbatch=--time=00:05:00",
]
RECIPE = [ROOT / "recipes" / "quickstart.yaml", "--global_batch=16", "--epochs=2", "--policy.interval=1"]
CANCELLED, TIMEOUT, OOM = "strong_n002_r2", "strong_n004_r2", "adaptive_n004_r2"
Study = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def study(cluster: SlurmCluster, tmp_path: Path) -> Study:
    """study("status", "--json", code=3): the verb for the study of this test."""

    def run(verb: str, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        return cluster.run(*line(verb, *arguments), cwd=tmp_path, code=code, timeout_s=120)

    return run


def line(verb: str, *arguments: object) -> list[str]:
    own = (f"ADABATCH_HOME={ROOT}", "PYTHONFAULTHANDLER=1")  # a rank that crashes says where
    command = ["env", *own, sys.executable, "-m", "hpc_adabatch", "study", verb, "scaling"]
    return [*command, *map(str, arguments)]


def submissions(folder: Path) -> list[dict[str, Any]]:
    path = folder / "submissions.jsonl"
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def jobs_by_cell(folder: Path) -> dict[str, int]:
    return {said["cell"]: int(said["job_id"]) for said in submissions(folder) if "job_id" in said}


def submit_and_die(cluster: SlurmCluster, folder: Path, tmp_path: Path) -> None:
    """A submit that is killed when a few cells have their jobs."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(line("submit"), cwd=tmp_path, env=cluster.environment, stdout=quiet, stderr=quiet)
    deadline = time.monotonic() + 60
    while len(jobs_by_cell(folder)) < 4:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(jobs_by_cell(folder)) < 12


def until_nothing_is_to_come(study: Study, timeout_s: float = 900) -> dict[str, str]:
    """States by cell."""
    deadline = time.monotonic() + timeout_s
    while True:
        done = study("status", "--json", code=None)
        states = {cell["cell"]: cell["state"] for cell in json.loads(done.stdout)["cells"]}
        if not {"PLANNED", "PENDING", "RUNNING"} & set(states.values()):
            return states
        assert time.monotonic() < deadline, done.stdout
        time.sleep(4)  # asking starts a Python, beside the jobs' own


def tell_of_failures(folder: Path, states: dict[str, str]) -> None:
    """Prints what the jobs of cells that failed have said: shown where the test fails."""
    for cell in (cell for cell, state in states.items() if state == "FAILED"):
        for output in (folder / "cells" / cell).glob("slurm-*.out"):
            print(output.name, output.read_text(encoding="utf-8", errors="replace"))


def freeze(cluster: SlurmCluster, job: int) -> None:
    """A job whose rank stands still until its time is over."""
    cluster.wait(job, "RUNNING", 900)
    os.kill(cluster.rank_pid(job, 0), signal.SIGSTOP)
    cluster.expire(job)


def test_a_study_with_all_that_may_happen(cluster: SlurmCluster, study: Study, tmp_path: Path) -> None:
    template = ROOT / "slurm" / "cpu.sbatch"
    study("plan", *PLAN, f"--template={template}", "--", *RECIPE)
    folder = tmp_path / "studies" / "scaling"
    submit_and_die(cluster, folder, tmp_path)
    study("submit")
    assert study("submit").stdout == "nothing to submit\n"
    jobs = jobs_by_cell(folder)
    assert len(jobs) == len(set(jobs.values())) == 12

    cluster.run("scancel", jobs[CANCELLED])
    cluster.run("scontrol", "update", f"JobId={jobs[OOM]}", "MinMemoryNode=40")
    freeze(cluster, jobs[TIMEOUT])
    states = until_nothing_is_to_come(study)
    tell_of_failures(folder, states)
    odd = {CANCELLED: "CANCELLED", TIMEOUT: "TIMEOUT", OOM: "OOM"}
    assert states == dict.fromkeys(jobs, "OK") | odd
    study("status", code=4)

    study("collect", code=None)
    results = read(folder)
    assert {cell: result.state for cell, result in results.items()} == states
    assert all(result.reason for result in results.values() if result.state != "OK")
    assert all(result.attempts == 1 and len(result.job_ids.split()) == 1 for result in results.values())
    measured = [result for result in results.values() if result.mode == "strong" and result.state == "OK"]
    assert all(result.step_s and result.samples_per_s for result in measured)
    trained = [result for result in results.values() if result.mode == "adaptive" and result.state == "OK"]
    assert {(result.updates, result.final_global_batch) for result in trained} == {(90 + 45, 32)}
    study("report", code=None)
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert all(cell in page for cell in odd)

    study("submit", "--retry=timeout,oom,cancelled")
    states = until_nothing_is_to_come(study)
    tell_of_failures(folder, states)
    assert set(states.values()) == {"OK"}
    again = Counter(said["cell"] for said in submissions(folder) if "job_id" in said)
    assert {cell: count for cell, count in again.items() if count > 1} == dict.fromkeys(odd, 2)  # nothing ran twice
    study("status")
    study("collect")
    assert {result.state for result in read(folder).values()} == {"OK"}


def read(folder: Path) -> dict[str, CellResult]:
    return {result.cell: result for result in from_csv((folder / "results.csv").read_text(encoding="utf-8"))}
