"""Exposed communication over links of known rates: what `measure` says, against what steps take.

Two jobs differ in nothing but the links, so their steps differ by communication alone. If `measure` tells communication
from computing, its exposed times differ by as much.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cluster import SlurmCluster

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).resolve().parents[2]
WORDS = 10_000
RECIPE = [ROOT / "recipes" / "text-lstm-legw.yaml", "--model=lstm_1x128", f"--task.vocabulary={WORDS}"]  # much to send
SMALL = ["--global_batch=4", "--task.steps=5", "--task.context=5", "--warmup=3", "--steps=15"]  # little to compute


def measured(cluster: SlurmCluster, folder: Path, text: Path, rate_mbit: float) -> dict[str, Any]:
    """What a two-node job finds whose links have this rate."""
    folder.mkdir()
    job_flags = [f"--chdir={folder}", f"--export=ALL,ADABATCH_HOME={ROOT}", ROOT / "slurm" / "cpu.sbatch", "measure"]
    flags = [*RECIPE, *SMALL, f"--task.train={text}", f"--task.test={text}", f"--out={folder}"]
    with cluster.links(rate_mbit):
        job = cluster.sbatch(*job_flags, *flags)
        assert cluster.wait(job, timeout_s=120)["JobState"] == "COMPLETED", cluster.output(job)
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def test_exposed_communication_agrees_with_the_difference_of_steps(
    namespaced_cluster: SlurmCluster, tmp_path: Path
) -> None:
    text = tmp_path / "words.txt"
    text.write_text(" ".join(f"word{number}" for number in range(WORDS)) + "\n", encoding="utf-8")
    fast = measured(namespaced_cluster, tmp_path / "fast", text, 1000)
    slow = measured(namespaced_cluster, tmp_path / "slow", text, 250)
    steps = slow["step_s"]["median_s"] - fast["step_s"]["median_s"]
    exposed = slow["exposed_s"] - fast["exposed_s"]
    assert exposed == pytest.approx(steps, rel=0.15)
    # two ranks send the gradient once each way; a tenth of the time may be hidden behind computing
    assert steps > 0.9 * slow["gradient_bytes"] * 8 * (1 / 250e6 - 1 / 1000e6)


def test_goodput_soon_leaves_a_batch_whose_step_is_mostly_its_sum(
    namespaced_cluster: SlurmCluster, tmp_path: Path
) -> None:
    """Bug story: half of the step was taken to grow with the batch, and the first one was never left."""
    flags = ["train", ROOT / "recipes" / "quickstart.yaml", "--policy", "goodput", "--global_batch=16", "--epochs=1"]
    scaling = ["--learning_rate.scaling=adascale", "--learning_rate.clock=samples", f"--out={tmp_path / 'run'}"]
    job_flags = [f"--chdir={tmp_path}", f"--export=ALL,ADABATCH_HOME={ROOT}", ROOT / "slurm" / "cpu.sbatch"]
    with namespaced_cluster.links(50):
        job = namespaced_cluster.sbatch(*job_flags, *flags, *scaling)
        assert namespaced_cluster.wait(job, timeout_s=120)["JobState"] == "COMPLETED", namespaced_cluster.output(job)
    lines = map(json.loads, (tmp_path / "run" / "journal.jsonl").read_text(encoding="utf-8").splitlines())
    first = next(line for line in lines if line["kind"] == "decision" and line["global_batch"] > 16)
    assert first["step"] < 50  # of 90 in the epoch; a window is half of it
    assert first["global_batch"] == 32
