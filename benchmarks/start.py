"""Compares two checkouts in the seconds from a launch to the first step, and to the end of ``adabatch --help``.

    python benchmarks/start.py BEFORE AFTER [--ranks 2,8] [--rounds 5] [--write docs/results/start.md]

BEFORE and AFTER are folders with a checkout each (git worktree add); both run on the packages of this Python. In each
round both start, in alternating order; ranks train the quickstart, by mpirun on this machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

from first_step import commit, seconds
from machine import machine, versions

Case = Callable[[Path], tuple[float, float]]


def seconds_of_help(checkout: Path) -> tuple[float, float]:
    """Returns the seconds that ``adabatch --help`` takes, and those that it computes."""
    line, own = [sys.executable, "-m", "hpc_adabatch", "--help"], {"PYTHONPATH": str(checkout)}
    began_s, computed_s = time.monotonic(), _computed_s()
    subprocess.run(line, cwd=checkout, env=os.environ | own, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began_s, _computed_s() - computed_s


def _computed_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measures, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--ranks", default="2,8", help="numbers of ranks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    checkouts = {"before": flags.before.resolve(), "after": flags.after.resolve()}
    counts = [int(word) for word in flags.ranks.split(",")]
    cases: dict[str, Case] = {"`adabatch --help`": seconds_of_help}
    cases |= {f"first step, {ranks} ranks": partial(seconds, ranks=ranks, flags=()) for ranks in counts}
    rows = []
    for case, measured in cases.items():
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
        for number in range(flags.rounds):
            for name in checkouts if number % 2 == 0 else reversed(checkouts):
                took[name].append(measured(checkouts[name]))
                print(f"{case}, {name}: {took[name][-1]}", file=sys.stderr, flush=True)
        for at, what in enumerate(("seconds", "seconds computed")):
            each = {name: [one[at] for one in took[name]] for name in checkouts}
            ratios = [after / before for before, after in zip(each["before"], each["after"], strict=True)]
            rows.append(f"| {case} | {what} | {spread(each['before'])} | {spread(each['after'])} | {spread(ratios)} |")
    page = "\n".join(
        [
            "# From a launch to the first step",
            "",
            f"    python benchmarks/start.py BEFORE AFTER --rounds {flags.rounds}",
            "",
            f"Before: {commit(checkouts['before'])}; after: {commit(checkouts['after'])}.",
            f"{machine(max(counts))}; {versions()}; {date.today()}; {flags.rounds} rounds, both in each, in",
            "alternating order: medians (least to most). Seconds: from the start of mpirun to the end of the first",
            "step of the quickstart; computed: those of all ranks together until then.",
            "",
            "| what | measured | before | after | after / before, in its round |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
    print(page)
    if flags.write:
        flags.write.write_text(page, encoding="utf-8")


def spread(values: list[float]) -> str:
    """Returns the median, with the least and the most."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
