"""Nodes that follow the batch, on a real Slurm: one command, three jobs on 1, 2 and 4 nodes, and one run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cluster import SlurmCluster
from conftest import require
from test_jobs import (
    ENDED,
    RECIPE,
    ROOT,
    TEMPLATE,
    by_hand,
    left,
    output,
    records,
    standing_still,
    submit,
    until_it_is_told,
    until_it_trains,
)

from hpc_adabatch.study.folder import StudyFolder
from hpc_adabatch.study.results import from_csv
from hpc_adabatch.study.submissions import read

pytestmark = pytest.mark.slurm

# a network without kinks: other ranks add in another order, and weights stay as near as that (tests/launch/)
RUN = ["--model=lstm_1x32", "--task.augment=false", "--optimizer.lr=0.005", "--journal_every=1"]
RUN += ["--policy=schedule", "--global_batch=16"]
RUN += ["--learning_rate.scaling=sqrt", "--learning_rate.reference_batch=16"]
UP_AND_DOWN = ["--policy.text=0:16 1ep:32 14ep:128 16ep:16", "--epochs=17"]
UP = ["--policy.text=0:16 1ep:32 3ep:128", "--epochs=5"]
FOLLOW = ["--nodes_follow=1:4", "--network=measured", "--efficiency=0.5", "--wait_s=0", "--checkpoint_steps=10"]


@pytest.fixture(scope="module")
def patient_cluster() -> Iterator[SlurmCluster]:
    """Four nodes, of which jobs of one partition get two at most; a preempted job has half a minute."""
    require()
    small = "PartitionName=small MaxNodes=2 PriorityTier=1 PreemptMode=REQUEUE\n"
    with SlurmCluster(4, 2, grace_s=30, extra=small) as cluster:
        yield cluster


def probe(folder: Path) -> str:
    """A step takes batch / nodes + 12 log2(nodes) ms: batch 16 is worth one node, 32 two, and 128 four."""
    steps = [{"micro_batch": size, "forward_backward": {"median_s": 1e-3 * size}} for size in (1, 256)]
    messages = {"fit": {"latency_s": 12e-3, "bandwidth_bytes_per_s": 1e15}}
    content = {"nodes": 2, "device_name": "cpu", "steps": {"steps": steps}, "messages": messages}
    (folder / "probe.json").write_text(json.dumps(content), encoding="utf-8")
    return f"--probe={folder / 'probe.json'}"


def state(run: Path) -> dict[str, Any]:
    return dict(torch.load(run / "checkpoint" / "last.pt", weights_only=True)["training"])


def successor(folder: Path, job: int) -> int:
    """The job that goes on, once this one has said so."""
    deadline = time.monotonic() + 120
    while (found := re.search(rf"^job {job}: goes on as job (\d+)$", output(folder), re.MULTILINE)) is None:
        assert time.monotonic() < deadline, output(folder)
        time.sleep(0.3)
    return int(found[1])


def assert_one_run(found: Path, reference: Path) -> None:
    """Every step once, with the same samples, batch and rate; weights but for the order of sums."""
    lines = [[r for r in records(folder) if r["kind"] == "statistics"] for folder in (found, reference)]
    for name in ("step", "cursor", "global_batch", "learning_rate"):
        assert [line[name] for line in lines[0]] == [line[name] for line in lines[1]], name
    losses = [[line["loss"] for line in of] for of in lines]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # another sample in a step would show at once
    after, expected = state(found), state(reference)
    assert after["plan"] == expected["plan"]
    for name, weights in expected["model"].items():
        torch.testing.assert_close(after["model"][name], weights, rtol=1e-5, atol=1e-6)


def test_a_run_goes_from_one_node_to_two_and_four_and_back_by_itself_and_is_the_run_on_one(
    patient_cluster: SlurmCluster, tmp_path: Path
) -> None:
    """On two nodes it is preempted, goes on on two, and is killed; submitted again on one, it asks for two again."""
    cluster, flags = patient_cluster, [*RUN, *UP_AND_DOWN]
    (tmp_path / "alone").mkdir()
    undisturbed = by_hand(tmp_path / "alone", 1, *flags)
    one = submit(cluster, tmp_path, *flags, *FOLLOW, probe(tmp_path), sbatch=("--nodes=1",))
    two = successor(tmp_path, one)
    assert cluster.wait(one, ENDED, 60)["JobState"] == "COMPLETED", output(tmp_path)
    ranks = [cluster.rank_pid(two, rank, timeout_s=60) for rank in (0, 1)]
    until_it_trains(cluster, two, tmp_path, 100)
    with standing_still(ranks):
        urgent = cluster.sbatch("-p", "high", "-N", "4", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1")
        until_it_is_told(tmp_path, two)
    left(cluster, two, "PENDING")
    cluster.wait(urgent, "COMPLETED", 60)
    rank = cluster.rank_pid(two, 1, timeout_s=120)
    until_it_trains(cluster, two, tmp_path, records(tmp_path / "run")[-1]["step"] + 40)
    os.kill(rank, signal.SIGKILL)
    left(cluster, two, "FAILED")
    again = submit(cluster, tmp_path, *flags, *FOLLOW, probe(tmp_path), sbatch=("--nodes=1",))
    two_again = successor(tmp_path, again)
    four = successor(tmp_path, two_again)
    last = successor(tmp_path, four)
    assert cluster.wait(last, ENDED, 240)["JobState"] == "COMPLETED", output(tmp_path)
    jobs = (one, two, again, two_again, four, last)
    assert [cluster.job(job)["NumNodes"] for job in jobs] == ["1", "2", "1", "2", "4", "1"]

    run = tmp_path / "run"
    parts = [record for record in records(run) if record["kind"] in ("start", "resume", "end")]
    assert [part["world_size"] for part in parts if part["kind"] != "end"] == [1, 2, 2, 1, 2, 4, 1]
    reasons = ["nodes", "stop file", "nodes", "nodes", "nodes", "complete"]
    assert [part["reason"] for part in parts if part["kind"] == "end"] == reasons
    assert [part["nodes"] for part in parts if part.get("reason") == "nodes"] == [2, 2, 4, 1]
    assert_one_run(run, undisturbed)


def test_a_run_whose_partition_has_no_more_nodes_stays_where_it_is(
    patient_cluster: SlurmCluster, tmp_path: Path
) -> None:
    """Bug story: Slurm takes such a job without a word, and it waits for ever."""
    flags = [*RUN, *UP]
    (tmp_path / "alone").mkdir()
    undisturbed = by_hand(tmp_path / "alone", 1, *flags)
    how = ("--nodes=1", "--partition=small")
    one = submit(patient_cluster, tmp_path, *flags, *FOLLOW, probe(tmp_path), sbatch=how)
    two = successor(tmp_path, one)
    assert patient_cluster.wait(two, ENDED, 240)["JobState"] == "COMPLETED", output(tmp_path)
    assert "that is refused; the run stays on its 2 node(s)" in output(tmp_path)
    starts = [record for record in records(tmp_path / "run") if record["kind"] in ("start", "resume")]
    assert [start["world_size"] for start in starts] == [1, 2, 2]
    assert_one_run(tmp_path / "run", undisturbed)


def test_a_study_holds_nodes_that_follow_against_one_node_count(patient_cluster: SlurmCluster, tmp_path: Path) -> None:
    """Three jobs of one cell, which nobody but Slurm and the cell's own folder knows; this cluster has no accounts."""

    def study(verb: str, *words: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        own = ["env", f"ADABATCH_HOME={ROOT}", sys.executable, "-m", "hpc_adabatch", "study", verb, "race"]
        return patient_cluster.run(*own, *map(str, words), cwd=tmp_path, code=code, timeout_s=120)

    follow = " ".join([*(flag for flag in FOLLOW if "nodes" not in flag and "steps" not in flag), probe(tmp_path)])
    grid = ["--mode=adaptive,follow", "--nodes=1,4", "--repeats=1", f"--template={TEMPLATE}", f"--follow={follow}"]
    assert "3 jobs" in study("plan", *grid, "--", RECIPE, *RUN, *UP).stdout
    study("submit")
    deadline = time.monotonic() + 400
    while (done := study("status", code=None)).returncode != 0:
        assert done.returncode == 3, done.stdout + done.stderr  # some are still to come, none has failed
        assert time.monotonic() < deadline, done.stdout
        time.sleep(0.5)
    assert study("submit").stdout.splitlines()[-1] == "nothing to submit"
    study("collect")
    folder = tmp_path / "studies" / "race"
    found = {one.cell: one for one in from_csv((folder / "results.csv").read_text(encoding="utf-8"))}
    alone, four, moved = (found[name] for name in ("adaptive_n001_r1", "adaptive_n004_r1", "follow_n001_r1"))
    jobs = moved.job_ids.split()
    assert (len(jobs), moved.attempts, len(alone.job_ids.split())) == (3, 3, 1)
    attempts = read(StudyFolder(tmp_path / "studies", "race"))[moved.cell]
    assert [(one.number, one.job_id) for one in attempts] == list(enumerate(jobs, 1))
    parts = [line for line in records(folder / "cells" / moved.cell) if line["kind"] in ("start", "resume")]
    assert [part["world_size"] for part in parts] == [1, 2, 4]
    times_s = [0.0, *(part["time_s"] for part in parts[1:]), moved.wall_s]
    hours = sum(n * (times_s[i + 1] - times_s[i]) for i, n in enumerate((1, 2, 4))) / 3600
    assert moved.run_node_hours == pytest.approx(hours)
    assert (alone.run_node_hours, four.run_node_hours) == pytest.approx((alone.wall_s / 3600, 4 * four.wall_s / 3600))
    assert_one_run(folder / "cells" / moved.cell, folder / "cells" / alone.cell)
    study("report")
    page = (folder / "report" / "report.md").read_text(encoding="utf-8")
    assert "## Nodes that follow against one node count" in page
    assert re.search(r"\| 1 from 0\S* s, 2 from \S+ s, 4 from \S+ s \|", page)
