"""Computes each paper's equation beside the package, on 1 to 4 ranks, and prints the page.

    python -m benchmarks.oracles [--ranks 1,2,3,4] [--write docs/results/oracles.md]

Exit code 1: a line does not hold. Minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import hpc_adabatch as hab

from ..cells import ROOT, environment
from .case import Case, Found
from .page import CASES, holds, page


def on(ranks: int) -> dict[Case, Found]:
    """Returns what each case comes to on so many new ranks."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "found.json"
        launcher = ["mpirun", "-np", str(ranks), "--oversubscribe"] if ranks > 1 else []
        line = [*launcher, sys.executable, "-m", "benchmarks.oracles", "--found", str(target)]
        subprocess.run(line, cwd=ROOT, env=environment(), check=True)
        found = json.loads(target.read_text(encoding="utf-8"))
    return {CASES[int(place)]: Found(**one) for place, one in found.items()}


def compute(target: Path) -> None:
    """Computes the cases on the ranks that run this, and writes what they come to."""
    cluster = hab.Cluster.start()
    found = {place: case.found(cluster) for place, case in enumerate(CASES) if cluster.size in case.ranks}
    if cluster.leads:
        target.write_text(json.dumps({place: asdict(one) for place, one in found.items()}), encoding="utf-8")
    cluster.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2, 3, 4])
    parser.add_argument("--write", type=Path, help="a Markdown file")
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)  # of the ranks that this program starts
    flags = parser.parse_args(arguments)
    if flags.found:
        compute(flags.found)
        return 0
    found: dict[Case, list[Found]] = {}
    for ranks in flags.ranks:
        for case, one in on(ranks).items():
            found.setdefault(case, []).append(one)
    text = page(found)
    print(text)
    if flags.write:
        flags.write.write_text(text, encoding="utf-8")
    return 0 if all(holds(case, some) for case, some in found.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
