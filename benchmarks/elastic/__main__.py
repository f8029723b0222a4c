"""Compares two ways to go on on more ranks: Horovod Elastic, and to leave with a checkpoint and be launched again.

    python benchmarks/elastic [--rounds 5] [--write docs/results/elastic.md]

Both train the same network over an epoch of 8,000 made-up samples, 16 in a step, on 2 ranks and from some step on 4,
all on this machine. Horovod's script that discovers hosts finds more slots then; ours is asked to stop, as it asks
itself where its nodes follow its batch, and launched again. No queue is in either: how long a job waits is the site's.
Horovod Elastic sums by Gloo, which is all it can; so does ours here, by horovodrun --gloo.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from first_step import commit  # noqa: E402
from machine import machine, versions  # noqa: E402
from work import SAMPLES  # noqa: E402

BEFORE, AFTER, STEPS, LIMIT_S = 2, 4, 100, 300.0
Line = tuple[float, int, int, list[int]]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one change of ranks took."""

    asked_s: float
    """Seconds from asking to the first step on the other ranks."""
    idle_s: float
    """Seconds between the last step before and the first one after."""
    again: int
    """Samples that were trained on more than once."""
    never: int
    """Samples that were not trained on."""


def lines(folder: Path) -> list[Line]:
    """Returns the steps of all processes, in the order of time."""
    found: list[Line] = []
    for path in folder.glob("*.jsonl"):
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(tuple(json.loads(text)))
            except ValueError:  # being written
                continue
    return sorted(found)


@contextmanager
def launched(command: Sequence[object], log: Path, **own: object) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a command, and ends it and its children at the end of the block."""
    given = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{HERE.parents[1]}:{HERE}", "ELASTIC_LOG": log}
    environment = os.environ | {name: str(value) for name, value in (given | own).items()}
    with (log / "output").open("ab") as file:
        words = list(map(str, command))
        process = subprocess.Popen(words, env=environment, stdout=file, stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(what: Callable[[], object], process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until something holds.

    Raises:
        RuntimeError: The process has ended, or it takes too long.
    """
    give_up_s = time.monotonic() + LIMIT_S
    while not what():
        if process.poll() is not None or time.monotonic() > give_up_s:
            raise RuntimeError((log / "output").read_text(encoding="utf-8", errors="replace")[-3000:])
        time.sleep(0.05)


def steps(log: Path, size: int) -> int:
    """Returns how many steps rank 0 has done among so many ranks."""
    return sum(1 for _, rank, ranks, _ in lines(log) if (rank, ranks) == (0, size))


def by_horovod(log: Path) -> float:
    """Trains with Horovod Elastic. Returns the time at which more hosts were found, in seconds since 1970."""
    hosts, discover = log / "hosts", log / "discover.sh"
    hosts.write_text(f"localhost:{BEFORE}\n", encoding="utf-8")
    discover.write_text(f"#!/bin/sh\ncat {hosts}\n", encoding="utf-8")
    discover.chmod(0o755)
    command = ["horovodrun", "--gloo", "-np", BEFORE, "--min-np", BEFORE, "--max-np", AFTER]
    command += [
        "--network-interfaces",
        "lo",
        "--host-discovery-script",
        discover,
        sys.executable,
        HERE / "by_horovod.py",
    ]
    with launched(command, log) as process:
        until(lambda: steps(log, BEFORE) >= STEPS, process, log)
        asked = time.time()
        hosts.write_text(f"localhost:{AFTER}\n", encoding="utf-8")
        process.wait(LIMIT_S)
    return asked


def by_restart(log: Path) -> float:
    """Trains with this package. Returns the time at which it was asked to leave, in seconds since 1970."""
    stop = log / "stop"
    own = {"ELASTIC_RUN": log / "run", "ADABATCH_STOP_FILE": stop}

    def command(ranks: int) -> list[object]:
        return ["horovodrun", "--gloo", "-np", ranks, sys.executable, HERE / "by_restart.py"]

    with launched(command(BEFORE), log, **own) as process:
        until(lambda: steps(log, BEFORE) >= STEPS, process, log)
        asked = time.time()
        stop.touch()
        process.wait(LIMIT_S)
    stop.unlink()
    with launched(command(AFTER), log, **own) as process:
        process.wait(LIMIT_S)
    return asked


def change(train: Callable[[Path], float]) -> Change:
    """Trains an epoch in one way. Returns what its change of ranks took."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder)
        asked = train(log)
        found = lines(log)
        if not any(size == AFTER for _, _, size, _ in found):
            raise RuntimeError((log / "output").read_text(encoding="utf-8", errors="replace")[-3000:])
    first = min(at for at, _, size, _ in found if size == AFTER)
    last = max(at for at, _, size, _ in found if size == BEFORE)
    seen = Counter(place for *_, places in found for place in places)
    again, never = sum(count - 1 for count in seen.values()), SAMPLES - len(seen)
    return Change(asked_s=first - asked, idle_s=first - last, again=again, never=never)


ROADS = {"Horovod Elastic": by_horovod, "checkpoint and launch again": by_restart}


def spread(values: Sequence[float]) -> str:
    """Returns the median, and the least and the greatest value."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def counts(values: Sequence[int]) -> str:
    """Returns the numbers of all rounds, or the one that they all are."""
    return ", ".join(map(str, values if len(set(values)) > 1 else values[:1]))


def page(found: dict[str, list[Change]], rounds: int) -> str:
    """Returns the page of results."""
    rows = [
        f"| {name} | {spread([one.asked_s for one in changes])} | {spread([one.idle_s for one in changes])} "
        f"| {counts([one.again for one in changes])} | {counts([one.never for one in changes])} |"
        for name, changes in found.items()
    ]
    about = [line for line in (__doc__ or "").splitlines()[4:] if line]
    return "\n".join(
        (
            "# From 2 ranks to 4: Horovod Elastic, or a checkpoint and another launch",
            "",
            f"    python benchmarks/elastic --rounds {rounds}",
            "",
            *about,
            "",
            "| road | asked to first step on 4, s | no step for, s | samples trained on again | never |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Median of {rounds} rounds, in turn, and the least and the greatest. {date.today()}, {commit(HERE)}:",
            f"{machine(AFTER)}; {versions()}.",
            "",
        )
    )


def main() -> None:
    """Measures, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    found: dict[str, list[Change]] = {name: [] for name in ROADS}
    for number in range(flags.rounds):
        for name in ROADS if number % 2 == 0 else reversed(ROADS):
            found[name].append(change(ROADS[name]))
            print(name, found[name][-1], file=sys.stderr, flush=True)
    text = page(found, flags.rounds)
    if flags.write is not None:
        flags.write.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
