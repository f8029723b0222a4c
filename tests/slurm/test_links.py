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
GRADIENT = 605_224  # bytes, of the recipe's network


def measured(cluster: SlurmCluster, folder: Path, rate_mbit: float) -> dict[str, Any]:
    """What a two-node job finds whose links have this rate."""
    folder.mkdir()
    exported = f"--export=ALL,ADABATCH_HOME={ROOT}"
    flags = ["--global_batch=64", "--warmup=5", "--steps=30", f"--out={folder}"]
    with cluster.links(rate_mbit):
        arguments = [f"--chdir={folder}", exported, ROOT / "slurm" / "cpu.sbatch", "measure"]
        job = cluster.sbatch(*arguments, ROOT / "recipes" / "quickstart.yaml", *flags)
        assert cluster.wait(job, timeout_s=120)["JobState"] == "COMPLETED", cluster.output(job)
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def test_exposed_communication_agrees_with_the_difference_of_steps(
    namespaced_cluster: SlurmCluster, tmp_path: Path
) -> None:
    fast = measured(namespaced_cluster, tmp_path / "fast", 1000)
    slow = measured(namespaced_cluster, tmp_path / "slow", 250)
    assert fast["gradient_bytes"] == GRADIENT
    steps = slow["step_s"]["median_s"] - fast["step_s"]["median_s"]
    exposed = slow["exposed_s"] - fast["exposed_s"]
    assert exposed == pytest.approx(steps, rel=0.15)
    # two ranks send the gradient once each way, less what passes in a burst of the token bucket
    least = (GRADIENT - 2 * 256_000) * 8 * (1 / 250e6 - 1 / 1000e6)
    assert steps > least
