"""A study as it might have come from eight nodes with four V100 each: what reports are tried on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpc_adabatch.study.results import CellResult

NODES = (1, 2, 4, 8)
RANKS_PER_NODE = 4
BAD = {
    "strong_n008_r3": ("OOM", "out of memory: slurmstepd killed the step at 384 GiB"),
    "weak_n004_r2": ("FAILED", "exit code 1: RuntimeError: <class 'NCCLError'> unhandled system error | see the log"),
    "adaptive_n008_fixed_r2": ("TIMEOUT", "time limit of 00:40:00"),
    "adaptive_n004_big-batch_r3": ("NODE_FAIL", "node v17 went down"),
    "adaptive_n008_big-batch_r3": ("PENDING", ""),
}


def measured(mode: str, nodes: int, repeat: int, draw: np.random.Generator) -> CellResult:
    """360 images a second and GPU, a gradient of 102 MB over 12.5 GB/s, of which computing hides a part."""
    ranks = RANKS_PER_NODE * nodes
    batch = 1024 * (nodes if mode == "weak" else 1)
    compute = batch / ranks / 360 * draw.lognormal(0, 0.01)
    allreduce = (0.009 + 0.017 * (1 - 1 / nodes)) * draw.lognormal(0, 0.06)
    exposed = max(0.2 * allreduce, allreduce - 0.3 * compute) + (0.012 * math.log2(nodes) if nodes > 1 else 0)
    parts = {
        "data_s": 0.0021 * draw.lognormal(0, 0.1),
        "compute_s": compute,
        "straggler_s": 0.004 * math.log2(ranks) * draw.lognormal(0, 0.2),
        "exposed_s": exposed,
    }
    step = sum(parts.values())
    return CellResult(
        cell=f"{mode}_n{nodes:03d}_r{repeat}",
        **common(mode, nodes, repeat, ""),
        global_batch=batch,
        step_s=step,
        step_lower_s=0.98 * step,
        step_upper_s=1.03 * step,
        allreduce_s=allreduce,
        gradient_bytes=102_228_128,
        samples_per_s=batch / step,
        node_hours=nodes * 0.031,
        **parts,
    )


def trained(variant: str, nodes: int, repeat: int, draw: np.random.Generator) -> CellResult:
    """Training to a target. The growing batch needs some more samples, and makes better use of many GPUs."""
    grows = variant == "big-batch"
    samples = int(1_450_000 * (1.08 if grows else 1.0) * draw.lognormal(0, 0.04) / 50_000) * 50_000
    rate = 5200 * nodes ** (0.93 if grows else 0.71) * draw.lognormal(0, 0.02)
    seconds = samples / rate * 1.06
    batch = 1600 if grows else 256
    return CellResult(
        cell=f"adaptive_n{nodes:03d}_{variant}_r{repeat}",
        **common("adaptive", nodes, repeat, variant),
        global_batch=256,
        samples_per_s=rate,
        wall_s=seconds + 4,
        updates=samples // batch,
        samples=samples,
        metric="accuracy",
        value=0.921,
        final_global_batch=batch,
        node_hours=nodes * (seconds + 30) / 3600,
        reached_wall_s=seconds,
        reached_samples=samples,
        reached_updates=samples // batch,
        run_node_hours=nodes * seconds / 3600,
    )


def common(mode: str, nodes: int, repeat: int, variant: str) -> dict[str, Any]:
    """What cells of all kinds have."""
    return {
        "mode": mode,
        "nodes": nodes,
        "ranks": RANKS_PER_NODE * nodes,
        "variant": variant,
        "repeat": repeat,
        "state": "OK",
        "job_ids": f"{81000 + 10 * nodes + repeat}",
        "attempts": 1,
        "wait_s": 35.0 * nodes,
    }


def failed(cell: CellResult, state: str, reason: str) -> CellResult:
    """The cell without numbers."""
    empty = CellResult(
        cell=cell.cell,
        mode=cell.mode,
        nodes=cell.nodes,
        ranks=cell.ranks,
        variant=cell.variant,
        repeat=cell.repeat,
        state=state,
        reason=reason,
    )
    if state == "PENDING":
        return replace(empty, job_ids=cell.job_ids, attempts=1)
    return replace(empty, job_ids=cell.job_ids, attempts=1, node_hours=0.2, wait_s=60.0)


def study(nodes: tuple[int, ...] = NODES, repeats: int = 3) -> list[CellResult]:
    """Strong, weak, and adaptive with two variants; five cells are not OK, one does not reach its target."""
    draw = np.random.default_rng(5)
    found = [measured(mode, n, r, draw) for mode in ("strong", "weak") for n in nodes for r in range(1, repeats + 1)]
    found += [
        trained(variant, n, r, draw) for variant in ("fixed", "big-batch") for n in nodes for r in range(1, repeats + 1)
    ]
    found = [failed(cell, *BAD[cell.cell]) if cell.cell in BAD else cell for cell in found]
    unreached = {"reached_wall_s": None, "reached_samples": None, "reached_updates": None, "value": 0.913}
    return [replace(cell, **unreached) if cell.cell == "adaptive_n002_fixed_r2" else cell for cell in found]


@pytest.fixture(scope="session")
def results() -> list[CellResult]:
    return study()


@pytest.fixture(scope="session")
def few() -> list[CellResult]:
    """Two repeats: too few for any interval."""
    return study(repeats=2)


def records(cell: CellResult) -> list[dict[str, Any]]:
    """A journal whose batch doubles every sixth of the run where it grows."""
    sizes = [256, 512, 1024, 1600] if cell.variant == "big-batch" else [256]
    end = cell.wall_s or 60.0
    lines: list[dict[str, Any]] = [{"kind": "start", "time_s": 0.0, "metric": "accuracy", "global_batch": 256}]
    lines += [{"kind": "decision", "time_s": i * end / 6, "global_batch": size} for i, size in enumerate(sizes) if i]
    lines += [
        {"kind": "evaluation", "time_s": end * i / 28, "metric": 0.925 - 0.6 * math.exp(-i / 5), "loss": 1.0}
        for i in range(1, 29)
    ]
    return [*sorted(lines, key=lambda line: line["time_s"]), {"kind": "end", "time_s": end, "reason": "complete"}]


@pytest.fixture(scope="session")
def journal() -> Any:
    return records
