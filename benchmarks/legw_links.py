"""Measures what LEGW's rows (1901.08256) save over slow links: steps at the small batch and at 16 times that.

    python benchmarks/legw_links.py --images DIR [--rounds 3] [--write docs/results/legw-links.md]

    ranks      four, each in a network namespace of its own, behind a link of so many Mbit/s both ways: tests/slurm/
    recipe     cifar10-row-lstm-legw: an LSTM over the rows of images, LAMB, a batch of 4 at k = 1
    DIR        train/CLASS/FILE and test/CLASS/FILE: CIFAR-10 as images
    needs      root and Debian's Slurm

Links change no weight, so a run takes its updates times the time of one: 10 epochs of 20,000 images are 50,000 updates
at a batch of 4 and 3,120 at one of 64, as in docs/results/legw-rows-quick.md, which has the accuracies. Steps are timed
by `adabatch measure`, both batches on both links in turn within a round; their medians, and the least and the most over
rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent / "tests" / "slurm"))  # not a package
from cluster import SlurmCluster  # noqa: E402 (after the path is set)
from images import few_images  # noqa: E402
from machine import machine, versions  # noqa: E402

RANKS, RATES_MBIT = 4, (1000, 250)
UPDATES = {4: 50_000, 64: 3_120}  # by global batch
SMALL, LARGE = UPDATES
PAPER = 5.3  # times as fast on average, on the same hardware
STEADY = "SlurmdTimeout=300\n"  # a node is not given up while the machine is busy


def step_s(cluster: SlurmCluster, folder: Path, images: Path, batch: int) -> float:
    """Returns the median seconds of a step of all ranks.

    Raises:
        RuntimeError: The job has failed.
    """
    home = HERE.parent
    recipe = home / "recipes" / "cifar10-row-lstm-legw.yaml"
    flags = [recipe, f"--task.root={images}", f"--global_batch={batch}", "--warmup=20", "--steps=100"]
    where = [f"--nodes={RANKS}", f"--chdir={folder}", f"--export=ALL,ADABATCH_HOME={home}", home / "slurm/cpu.sbatch"]
    job = cluster.sbatch(*where, "measure", *flags, f"--out={folder}")
    if cluster.wait(job, timeout_s=300)["JobState"] != "COMPLETED":
        raise RuntimeError(cluster.output(job)[-2000:])
    found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return float(found["step_s"]["median_s"])


def measured(images: Path, rounds: int) -> dict[tuple[int, int], list[float]]:
    """Returns the seconds of a step by link and batch, one a round."""
    found: dict[tuple[int, int], list[float]] = {(rate, batch): [] for rate in RATES_MBIT for batch in UPDATES}
    with SlurmCluster(RANKS, 1, namespaces=True, extra=STEADY) as cluster:
        for number in range(rounds):
            for rate, batch in list(found)[:: -1 if number % 2 else 1]:
                with tempfile.TemporaryDirectory() as folder, cluster.links(rate):
                    found[rate, batch].append(step_s(cluster, Path(folder), images, batch))
                print(f"round {number + 1}: {rate} Mbit/s, batch {batch}: {found[rate, batch][-1]:.4f} s", flush=True)
    return found


def spread(values: list[float], digits: int) -> str:
    """Returns the median of some values, with the least and the most."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(found: dict[tuple[int, int], list[float]]) -> list[str]:
    """Returns the lines of the table, one a link."""
    lines = [
        f"| link, Gbit/s | step at {SMALL}, ms | step at {LARGE}, ms | run at {SMALL}, s | run at {LARGE}, s | times |"
    ]
    lines.append("|--:|---|---|--:|--:|---|")
    for rate in RATES_MBIT:
        steps = {batch: found[rate, batch] for batch in UPDATES}
        runs = {batch: [UPDATES[batch] * seconds for seconds in steps[batch]] for batch in UPDATES}
        times = [small / large for small, large in zip(runs[SMALL], runs[LARGE], strict=True)]
        cells = [spread([1000 * seconds for seconds in steps[batch]], 1) for batch in UPDATES]
        cells += [f"{statistics.median(runs[batch]):,.0f}" for batch in UPDATES]
        lines.append(f"| {rate / 1000:g} | {' | '.join(cells)} | {spread(times, 1)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder that holds train/ and test/")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="the page's file; printed when not given")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        few_images(flags.images, images)
        lines = table(measured(images, flags.rounds))
    about = (__doc__ or "").split("\n\n")
    text = "\n".join(
        [
            "# LEGW's rows over slow links: 16 times the batch",
            "",
            f"    python benchmarks/legw_links.py --images DIR --rounds {flags.rounds}",
            "",
            about[2],
            "",
            about[3].strip(),
            "",
            *lines,
            "",
            f"The paper: {PAPER} times on average over its LSTM tasks, on the same hardware.",
            "",
            f"{date.today()}, {versions()}; {machine(RANKS)}.",
            "",
        ]
    )
    if flags.write:
        flags.write.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
