"""Runs one rank of a job of __main__.py: steps that sleep in place of computing, and sum real gradients.

    python rank.py STUDIES.json RESULT.json SEED RATE NODES REPEAT

Steps are timed as `adabatch measure` times them.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hpc_adabatch import Cluster
from hpc_adabatch.probe.breakdown import parts
from hpc_adabatch.probe.timing import Timer, Times

WARM_UP, ROUNDS = 3, 15
BETWEEN_JOBS, BETWEEN_STEPS = 0.02, 0.02  # standard deviations of logarithms: speed of a job's nodes, of a rank's step


def main() -> None:
    given, target, *seeds = sys.argv[1:]
    cluster = Cluster.start()
    timer, found = Timer(cluster, float("inf")), []
    of_job = np.random.default_rng([*map(int, seeds)])
    of_rank = np.random.default_rng([*map(int, seeds), cluster.rank])
    for study in json.loads(Path(given).read_text(encoding="utf-8")):
        local = study["batch"] / (cluster.size if study["mode"] == "strong" else 1)
        computing_s = (study["sample_s"] * local + study["serial_s"]) * of_job.lognormal(0.0, BETWEEN_JOBS)
        gradient = torch.zeros(study["gradient_bytes"] // 4)

        def compute(seconds: float = computing_s) -> None:
            time.sleep(seconds * of_rank.lognormal(0.0, BETWEEN_STEPS))

        reduce = partial(cluster.allreduce_, gradient, f"gradient {study['number']}")

        def step(compute=compute, reduce=reduce) -> None:  # type: ignore[no-untyped-def]
            compute()
            reduce()

        works = {"alone": compute} | ({"step": step, "allreduce": reduce} if cluster.size > 1 else {})
        seconds = timer.on_every_rank(works, warmup=WARM_UP, rounds=ROUNDS)
        steps = seconds.get("step", seconds["alone"])
        allreduce_s = float(np.median(seconds["allreduce"].max(axis=0))) if cluster.size > 1 else None
        times = Times.of(steps.max(axis=0).tolist())
        nothing = np.zeros_like(steps)
        found.append({"step_s": times.median_s, "allreduce_s": allreduce_s, **parts(nothing, seconds["alone"], steps)})
    if cluster.leads:
        Path(target).write_text(json.dumps(found), encoding="utf-8")
    cluster.stop()


if __name__ == "__main__":
    main()
