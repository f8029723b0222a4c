"""Predicts the step time of a job on 8 nodes from jobs on 1, 2 and 4, over real links of known rates.

    python benchmarks/links [--studies 10] [--seed 0] [--sums ring] [--write docs/results/links.md]

    a study    a made-up network: time of computing, bytes of gradient, strong or weak scaling, rate of the links
    its jobs   1, 2 and 4 nodes three times each, 8 nodes once; a private Slurm, a network namespace for each node
    needs      root and Debian's Slurm; minutes
    right      the 95 % interval of `adabatch study predict`, from the jobs on 1, 2 and 4 nodes, holds the step on 8

Sums of gradients are real: Horovod over MPI and TCP, on links limited to their rate in both directions. Computing is
replaced by sleep, because eight ranks that compute on two cores would slow each other down; eight nodes do not. One
launch runs all studies of a rate, one after another; every launch draws its own factor for the speed of its nodes.

Open MPI chooses its algorithm for a sum by the number of ranks and the size. From 4 to 8 ranks it may change to one
that the times on 1, 2 and 4 nodes do not show. Here it always takes a ring, as NCCL and Gloo do for large gradients;
--sums own leaves the choice to it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "tests" / "slurm")]  # neither is a package
from cluster import SlurmCluster  # noqa: E402 (after the path is set)
from machine import machine, versions  # noqa: E402

from hpc_adabatch.study.predict import job, predict  # noqa: E402
from hpc_adabatch.study.results import CellResult  # noqa: E402

RATES_MBIT = (1000, 250)
SUMS = {  # variables of the jobs
    "ring": {"OMPI_MCA_coll_tuned_use_dynamic_rules": "1", "OMPI_MCA_coll_tuned_allreduce_algorithm": "4"},
    "own": {},
}
FITTED, REPEATS, PREDICTED = (1, 2, 4), 3, 8


def networks(count: int, seed: int) -> list[dict[str, Any]]:
    """Draws the studies: computing time of a sample and of a step, bytes of the gradient, mode, rate of the links."""
    draw, found = np.random.default_rng(seed), []
    for number in range(count):
        found.append(
            {
                "number": number + 1,
                "mode": ("strong", "weak")[number % 2],
                "rate_mbit": RATES_MBIT[number * len(RATES_MBIT) // count],
                "batch": 256,  # of all ranks in strong scaling, of one in weak
                "sample_s": draw.uniform(0.05, 0.2) / 256,
                "serial_s": draw.uniform(0.0, 0.02),
                "gradient_bytes": int(draw.uniform(0.2e6, 2e6)),
            }
        )
    return found


def run(studies: list[dict[str, Any]], seed: int, sums: str) -> Iterator[CellResult]:
    """Runs all jobs of all studies and yields their results; the variant of a result is the number of its study."""
    exported = ",".join(["ALL", *(f"{name}={value}" for name, value in SUMS[sums].items())])
    with SlurmCluster(PREDICTED, 1, namespaces=True) as cluster, tempfile.TemporaryDirectory() as folder:
        for rate in sorted({study["rate_mbit"] for study in studies}, reverse=True):
            mine = [study for study in studies if study["rate_mbit"] == rate]
            given = Path(folder) / f"{rate}.json"
            given.write_text(json.dumps(mine), encoding="utf-8")
            for nodes in (*FITTED, PREDICTED):
                for repeat in range(1, (REPEATS if nodes in FITTED else 1) + 1):
                    target = Path(folder) / f"{rate}-{nodes}-{repeat}.json"
                    seeds = [str(seed), str(rate), str(nodes), str(repeat)]
                    line = ["mpirun", sys.executable, str(HERE / "rank.py"), str(given), str(target), *seeds]
                    with cluster.links(rate):
                        where = (
                            f"--nodes={nodes}",
                            "--ntasks-per-node=1",
                            f"--export={exported}",
                            f"--output={folder}/%j.out",
                        )
                        number = cluster.sbatch(*where, "--wrap", "exec " + " ".join(line), cwd=Path(folder))
                        cluster.wait(number, "COMPLETED", 600)
                    for study, parts in zip(mine, json.loads(target.read_text(encoding="utf-8")), strict=True):
                        yield cell(study, nodes, repeat, parts)
                    print(f"{rate} Mbit/s, {nodes} node(s), job {repeat}: done", file=sys.stderr, flush=True)


def cell(study: dict[str, Any], nodes: int, repeat: int, parts: dict[str, Any]) -> CellResult:
    strong = study["mode"] == "strong"
    return CellResult(
        cell=f"{study['mode']}_n{nodes:03d}_{study['number']}_r{repeat}",
        mode=study["mode"],
        nodes=nodes,
        ranks=nodes,
        variant=str(study["number"]),
        repeat=repeat,
        state="OK",
        global_batch=study["batch"] if strong else study["batch"] * nodes,
        gradient_bytes=study["gradient_bytes"],
        **parts,
    )


def table(studies: list[dict[str, Any]], cells: list[CellResult]) -> Iterator[str]:
    """Yields the lines of the table, one for each study."""
    yield (
        "| study | mode | link, Gbit/s | gradient, MB | step on 1, 2, 4 nodes, ms | exposed on 4, ms "
        "| predicted on 8, ms | 95 % interval | a new job on 8, ms | its sum of gradients, ms | right |"
    )
    yield "|--:|---|--:|--:|---|--:|--:|---|--:|--:|---|"
    n_right = 0
    for study in studies:
        own = [one for one in cells if one.variant == str(study["number"])]
        fitted = [one for one in own if one.nodes in FITTED]
        new = job(next(one for one in own if one.nodes == PREDICTED))
        (group,) = predict(fitted, [PREDICTED]).groups
        found = group.rows[0].step_s
        low, high = found.low or 0.0, found.high or 0.0
        right = low <= new.step_s <= high
        n_right += right
        given = f"{study['mode']} | {study['rate_mbit'] / 1000:g} | {study['gradient_bytes'] / 1e6:.2f}"
        steps = ", ".join(f"{1000 * mean(fitted, nodes, 'step_s'):.1f}" for nodes in FITTED)
        exposed = f"{1000 * mean(fitted, FITTED[-1], 'exposed_s'):.1f}"
        predicted = f"{1000 * found.value:.1f} | {1000 * low:.1f} to {1000 * high:.1f}"
        came = f"{1000 * new.step_s:.1f} | {1000 * (new.allreduce_s or 0.0):.1f} | {'yes' if right else '**no**'}"
        yield f"| {study['number']} | {given} | {steps} | {exposed} | {predicted} | {came} |"
    yield ""
    yield f"Right in {n_right} of {len(studies)}."


def mean(cells: list[CellResult], nodes: int, field: str) -> float:
    """Returns the mean of a field over the jobs on ``nodes`` nodes."""
    return float(np.mean([getattr(one, field) for one in cells if one.nodes == nodes]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--sums", choices=list(SUMS), default="ring", help="ring, or own: Open MPI's own choice of algorithm"
    )
    parser.add_argument("--write", type=Path, help="a Markdown file for the table")
    flags = parser.parse_args()
    studies = networks(flags.studies, flags.seed)
    lines = list(table(studies, list(run(studies, flags.seed, flags.sums))))
    print("\n".join(lines))
    if flags.write:
        what = __doc__.split("\n\n")
        title = "# Studies over links of known rates, and the step on eight nodes that they predict"
        command = f"python benchmarks/links --studies {flags.studies} --seed {flags.seed} --sums {flags.sums}"
        made = f"{date.today()}, {versions()}; {machine(PREDICTED)}."
        text = [title, f"    {command}", what[2], what[3], what[4], "\n".join(lines), made]
        flags.write.write_text("\n\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
