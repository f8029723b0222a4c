"""Kills real runs over and over until they are done, and compares each with a run that was left alone.

    python benchmarks/faults.py [--kills 200] [--seed 0] [--at-once 1] [--write docs/results/faults.md]

Each run of a rule, a launcher and a number of ranks is started, disturbed at a moment drawn at random, and started
again with --resume auto, until its disturbances are used up. Then it must equal the undisturbed run: weights,
optimizer, statistics and plan bit by bit, and the journals line by line, without gap or overlap. Every part must end by
itself within a minute, and leave no process behind. Only processes that this program has started are killed, by id.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from machine import machine, versions

from hpc_adabatch.training import journal

LIMIT_S = 60.0
STALL_S = 15  # after which a rank that stands still is missed
LAUNCHERS: dict[str, Callable[[int], list[str]]] = {
    "mpirun": lambda n: ["mpirun", "-np", str(n), "--oversubscribe"],
    "horovodrun --gloo": lambda n: ["horovodrun", "-np", str(n), "-H", f"localhost:{n}", "--gloo"],
    "horovodrun --mpi": lambda n: ["horovodrun", "-np", str(n), "-H", f"localhost:{n}", "--mpi"],
    "torchrun": lambda n: ["torchrun", "--nproc-per-node", str(n), "--no-python"],
}
RECIPE = (
    "train recipes/quickstart.yaml --epochs=3 --journal_every=1 --max_micro_batch=16 --model=narrow_cnn"
    " --optimizer.lr=0.01 --checkpoint_steps=9"
)
RULES = {
    "adabatch": "--policy=adabatch --policy.factor=2 --policy.interval=1 --policy.lr_factor=0.75",
    "noise_scale": "--policy=noise_scale --measure_every=3",
    "big_batch": "--policy=big_batch --policy.theta=2 --max_global_batch=128",
    "AdaScale": (
        "--policy=noise_scale --measure_every=3 --learning_rate.scaling=adascale"
        " --learning_rate.reference_batch=16 --learning_rate.clock=samples"
    ),
}
TIMES = ("time_s", "samples_per_s", "statistics_cost")
JOBS = [  # every launcher, every number of ranks, every rule
    *itertools.product(["mpirun"], [2, 3, 4], RULES),
    *itertools.product(["horovodrun --gloo"], [2, 3], RULES),
    *itertools.product(["horovodrun --mpi"], [2], RULES),
    *itertools.product(["torchrun"], [2, 3], RULES),
]


@dataclass
class Job:
    """A launched part of a run, as its processes are seen from outside."""

    process: subprocess.Popen[str]

    @property
    def all(self) -> list[int]:
        """Returns the launcher and all processes below it."""
        found = [self.process.pid]
        listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
        for parent in found:
            found += [pid for pid, its_parent in pairs if its_parent == parent]
        return found

    @property
    def ranks(self) -> list[int]:
        """Returns the processes that train."""
        return [pid for pid in self.all if b"hpc_adabatch" in _words(pid)[2:5]]


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


KILLS: dict[str, Callable[[Job, random.Random], None]] = {
    "KILL one rank": lambda job, draw: _send([draw.choice(job.ranks)], signal.SIGKILL),
    "KILL rank 0 and all": lambda job, _: _send(job.ranks, signal.SIGKILL),
    "KILL the launcher and all": lambda job, _: _send(job.all, signal.SIGKILL),
    "TERM one rank": lambda job, draw: _send([draw.choice(job.ranks)], signal.SIGTERM),
    "TERM all": lambda job, _: _send(job.ranks, signal.SIGTERM),
    "USR2 all": lambda job, _: _send(job.ranks, signal.SIGUSR2),
    "TERM, then KILL": lambda job, _: _term_then_kill(job),
    "STOP one rank": lambda job, draw: _send([draw.choice(job.ranks)], signal.SIGSTOP),
}


def _term_then_kill(job: Job) -> None:
    ranks = job.ranks
    _send(ranks, signal.SIGTERM)
    time.sleep(0.02)
    _send(ranks, signal.SIGKILL)


def _at_a_step(folder: Path, draw: random.Random) -> Iterator[bool]:
    """Waits until the journal is longer by some steps than it was."""
    path = folder / "journal.jsonl"
    size, wanted = (path.stat().st_size if path.exists() else 0), draw.randrange(200, 12_000)
    while True:
        yield path.exists() and path.stat().st_size >= size + wanted


def _in_a_write(folder: Path, draw: random.Random) -> Iterator[bool]:
    """Waits until a checkpoint is being written."""
    skip = draw.randrange(4)
    while True:
        writes = (folder / "checkpoint" / ".last.pt.tmp").exists()
        if writes and skip == 0:
            yield True
        if writes:
            skip -= 1
            while (folder / "checkpoint" / ".last.pt.tmp").exists():
                yield False
        yield False


def _before_the_first_step(folder: Path, draw: random.Random) -> Iterator[bool]:
    """Waits until rank 0 has the folder, in which a killed part may have left its name."""
    path = folder / "owner.json"
    before = path.stat().st_mtime_ns if path.exists() else 0
    while not path.exists() or path.stat().st_mtime_ns == before:
        yield False
    ready = time.monotonic() + draw.uniform(0, 0.3)
    while True:
        yield time.monotonic() >= ready


def _in_an_evaluation(folder: Path, _: random.Random) -> Iterator[bool]:
    """Waits until an epoch's last step is done."""
    path = folder / "journal.jsonl"
    while True:
        last = path.read_bytes().splitlines()[-1:] if path.exists() else []
        record = json.loads(last[0]) if last and last[0].endswith(b"}") else {}
        yield record.get("kind") == "statistics" and record["cursor"] % 1437 == 0


MOMENTS = {
    "at a step": _at_a_step,
    "in a write": _in_a_write,
    "before the first step": _before_the_first_step,
    "in an evaluation": _in_an_evaluation,
}


@dataclass
class Outcome:
    """What became of one run."""

    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    alone: int = 0
    slowest_s: float = 0.0
    orphans: int = 0
    faults: list[str] = field(default_factory=list)


def main() -> None:
    """Carries the bench out; exits with 1 where a run has become another one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", help="only the jobs whose row has this text, for example 'mpirun | 3'")
    parser.add_argument("--at-once", type=int, default=1, help="how many runs at the same time")
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    rows = {f"{launcher} | {ranks} | {rule}": (launcher, ranks, rule) for launcher, ranks, rule in JOBS}
    rows = {row: job for row, job in rows.items() if flags.jobs is None or flags.jobs in row}
    each, more = divmod(flags.kills, len(rows))
    began_s = time.monotonic()
    done: dict[str, Outcome] = {}

    def outcome(number: int) -> None:
        """Carries a row out, and writes the page as far as it goes."""
        row, job = list(rows.items())[number]
        with tempfile.TemporaryDirectory() as folder:
            found = _disturb(*job, each + (number < more), random.Random(f"{flags.seed} {row}"), Path(folder))
        done[row] = found
        text = _page({row: done[row] for row in rows if row in done}, flags.seed, time.monotonic() - began_s)
        if flags.write:
            flags.write.write_text(text, encoding="utf-8")
        print(f"{row}: {sum(found.kills.values())} kills, {found.faults or 'equal bit by bit'}", flush=True)

    with ThreadPoolExecutor(flags.at_once) as pool:
        list(pool.map(outcome, range(len(rows))))
    print(_page(done, flags.seed, time.monotonic() - began_s))
    sys.exit(any(found.faults or found.orphans for found in done.values()))


def _disturb(launcher: str, ranks: int, rule: str, kills: int, draw: random.Random, folder: Path) -> Outcome:
    words = [sys.executable, "-m", "hpc_adabatch", *shlex.split(RECIPE), *shlex.split(RULES[rule])]
    outcome, out = Outcome(), folder / "run"

    def start(out: Path, log: Path) -> Job:
        command = [*LAUNCHERS[launcher](ranks), *words, "--out", str(out), "--resume", "auto"]
        with log.open("w") as file:
            return Job(subprocess.Popen(command, stdout=file, stderr=file, text=True, env=_environment()))

    alone = start(folder / "alone", folder / "alone.txt")
    if alone.process.wait() != 0:
        raise RuntimeError((folder / "alone.txt").read_text())
    while sum(outcome.kills.values()) < kills:
        moment, kill = draw.choice(list(MOMENTS)), draw.choice(list(KILLS))
        job = start(out, folder / "run.txt")
        waiting = MOMENTS[moment](out, draw)
        while job.process.poll() is None and not next(waiting):
            time.sleep(0.001)
        if job.process.poll() is not None:  # done before its moment: it begins anew
            if _is_done(job, folder / "run.txt", outcome):
                outcome.missed += 1
                _compare(out, folder / "alone", outcome)
                out = folder / f"run-{outcome.missed}"
            continue
        processes = job.all
        with contextlib.suppress(IndexError):  # no rank is there yet
            KILLS[kill](job, draw)
            outcome.kills[kill] += 1
            outcome.moments[moment] += 1
        _await_the_end(job, processes, outcome, f"{kill} {moment}")
    while not _is_done(start(out, folder / "run.txt"), folder / "run.txt", outcome):
        pass
    _compare(out, folder / "alone", outcome)
    return outcome


def _is_done(job: Job, log: Path, outcome: Outcome) -> bool:
    """Waits for the end of a part that is left alone, and reports whether it was the run's last."""
    if job.process.wait() == 0:
        return True
    said = log.read_text()
    if "has not been heard" not in said and "nothing has moved" not in said:
        raise RuntimeError(said)
    outcome.alone += 1  # so much work beside it that a rank was not heard for a while
    return False


def _environment() -> dict[str, str]:
    own = {"OMP_NUM_THREADS": "1", "ADABATCH_STALL_S": str(STALL_S), "PYTHONUNBUFFERED": "1"}
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return os.environ | own | root | {"OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1"}


def _await_the_end(job: Job, processes: list[int], outcome: Outcome, what: str) -> None:
    """Waits until all processes are gone; those that stay are counted, and ended."""
    began_s = time.monotonic()
    left = processes
    while time.monotonic() - began_s < LIMIT_S:
        ended = job.process.poll() is not None
        left = [pid for pid in processes[1:] if _lives(pid)] + ([] if ended else processes[:1])
        if not left:
            break
        time.sleep(0.02)
    outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - began_s)
    if left:
        outcome.orphans += len(left)
        outcome.faults.append(f"{what}: {len(left)} processes were left")
        _send(left, signal.SIGKILL)
        job.process.wait()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _compare(found: Path, wanted: Path, outcome: Outcome) -> None:
    states = [torch.load(path / "checkpoint" / "last.pt", weights_only=True) for path in (found, wanted)]
    for part in ("model", "optimizer", "plan", "course", "coordinator", "measuring", "global_batch", "losses"):
        if not _equal(*(state["training"][part] for state in states)):
            outcome.faults.append(f"{part} differs")
    lines = [
        [
            {name: value for name, value in record.items() if name not in TIMES}
            for record in journal.read(path / "journal.jsonl")
            if record["kind"] not in ("start", "resume") and record.get("reason") not in ("SIGTERM", "SIGUSR2")
        ]
        for path in (found, wanted)
    ]
    if lines[0] != lines[1]:
        outcome.faults.append("the journal differs")


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b or (a != a and b != b))  # nan


def _page(found: dict[str, Outcome], seed: int, seconds: float) -> str:
    total = sum((outcome.kills for outcome in found.values()), Counter[str]())
    moments = sum((outcome.moments for outcome in found.values()), Counter[str]())
    lines = [
        "# Runs that were killed, and what became of them",
        "",
        f"{machine(4)} or less; {versions()}; {seconds / 60:.0f} minutes.",
        "",
        f"    python benchmarks/faults.py --kills {sum(total.values())} --seed {seed}",
        "",
        "The network of the quickstart, three epochs, a checkpoint every 9 steps; each part was disturbed at a moment",
        "drawn at random and resumed, until its kills were used up. *Equal* means bit by bit: weights, optimizer,",
        "statistics, plan, and the journals line by line.",
        "",
        "| launcher | ranks | rule | kills | slowest end, s | left behind | equal to the run left alone |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, outcome in found.items():
        kills, equal = sum(outcome.kills.values()), "; ".join(outcome.faults) or "yes"
        lines.append(f"| {row} | {kills} | {outcome.slowest_s:.1f} | {outcome.orphans} | {equal} |")
    lines += ["", "| what was done | times |", "|---|---|", *(f"| {name} | {total[name]} |" for name in KILLS)]
    lines += ["", "| when | times |", "|---|---|", *(f"| {name} | {moments[name]} |" for name in MOMENTS)]
    alone = sum(outcome.alone for outcome in found.values())
    lines += ["", f"{alone} parts ended by themselves, because other work on the machine kept a rank from being heard."]
    lines += ["", f"A rank that stands still (STOP) is missed by the others after {STALL_S} s, which was set.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
