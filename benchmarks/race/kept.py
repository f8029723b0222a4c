"""Runs on the cluster, each a job of its own; what a run has come to is kept, and it is trained once.

OUT/images/            the images, decoded
OUT/runs/NAME.json     what was asked for, by which code, when, and the curve or the reason of a failure
OUT/logs/NAME.log      what its ranks have written
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import peers
from cells import code, last_line, write
from cluster import SlurmCluster
from setting import Run
from submission import ENDED

HERE = Path(__file__).resolve().parent
RANKS = 4
LOOK_EVERY_S = 3.0  # seldom, as the ranks have need of all cores
BY_HOROVOD = ("goodput_horovod",)  # torch.distributed sums the gradients of all other arms, over Gloo
# Open MPI sums along a ring, as Gloo does; left to itself it took half as long again for a step of 2 MB at 0.25 Gbit/s
RING = "--mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_allreduce_algorithm 4"
Record = dict[str, Any]


class Kept:
    """The runs of a folder, and the cluster that trains those that are missing.

    Args:
        folder: OUT.
        cluster: Four nodes, with links.
        python: The Python of the peers.
        limit_minutes: Minutes after which a run has failed.
        retry: Forgets failed runs, which are trained again.
    """

    def __init__(self, folder: Path, cluster: SlurmCluster, python: Path, limit_minutes: float, retry: bool) -> None:
        self._folder, self._cluster, self._python = folder, cluster, python
        self._limit_minutes = limit_minutes
        for name in ("runs", "logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for path in (folder / "runs").glob("*.json") if retry else ():
            if "failure" in json.loads(path.read_text(encoding="utf-8")):
                path.unlink()

    def record(self, run: Run) -> Record:
        """Returns what a run has come to; empty where it was not trained."""
        path = self._path(run)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def train(self, run: Run) -> Record:
        """Returns what a run has come to, after training it where that is missing."""
        if known := self.record(run):
            return known
        print(f"{datetime.now():%H:%M} {run.name} ...", end=" ", flush=True)
        record: Record = {"asked": asdict(run), "code": code(), "began": f"{datetime.now():%Y-%m-%d %H:%M}"}
        record |= self._launch(run)
        record["load"] = round(os.getloadavg()[0], 1)  # more than the ranks: something else ran beside
        write(self._path(run), record)
        last = record.get("curve", [None])[-1]
        print(f"{last['accuracy']:.4f} after {last['seconds']:.0f} s" if last else record["failure"], flush=True)
        return record

    def _path(self, run: Run) -> Path:
        return self._folder / "runs" / f"{run.name}.json"

    def _launch(self, run: Run) -> Record:
        """Runs the job. Returns what rank 0 has found, or why the run failed."""
        given, result = (self._path(run).with_suffix(end) for end in (".asked", ".found"))
        log = self._folder / "logs" / f"{run.name}.log"
        given.write_text(json.dumps(asdict(run)), encoding="utf-8")
        result.unlink(missing_ok=True)
        began_s = time.monotonic()
        where = (f"--nodes={RANKS}", "--ntasks-per-node=1", "--job-name=race", "--no-requeue", "--time=1-0")
        with self._cluster.links(run.link_mbit):
            job = self._cluster.sbatch(*where, f"--output={log}", "--wrap", self._line(run, given, result))
            try:
                while self._cluster.job(job)["JobState"] not in ENDED:
                    if time.monotonic() - began_s > 60 * self._limit_minutes:
                        return {"failure": f"stopped after {self._limit_minutes:g} minutes"}
                    time.sleep(LOOK_EVERY_S)
            finally:
                self._cluster.run("scancel", job)
                self._cluster.wait(job)
        if not result.exists():
            return {"failure": last_line(log.read_text(encoding="utf-8", errors="replace"))}
        found: Record = json.loads(result.read_text(encoding="utf-8"))
        for path in (given, result):
            path.unlink()
        return found | {"job_s": time.monotonic() - began_s}

    def _line(self, run: Run, given: Path, result: Path) -> str:
        """Returns the line of the job: by mpirun where Horovod sums, by srun where torch.distributed does."""
        python = self._python if run.arm in peers.ARMS else sys.executable
        command = f"{python} {HERE / 'rank.py'} {given} {self._folder / 'images'} {result}"
        if run.arm not in BY_HOROVOD:
            port = "$((15000 + SLURM_JOB_ID % 10000))"  # one that was left a moment ago may not be listened at again
            meeting = f"MASTER_ADDR=$(hostname) MASTER_PORT={port} ADABATCH_ENGINE=torch"
            return f"export {meeting}; exec srun --mpi=none --kill-on-bad-exit=1 {command}"
        # not bound, or every node would bind its rank to the machine's first core
        return f"exec mpirun --bind-to none {RING} {command}"
