"""Compares the memory of decoded images, and the processor seconds to decode them, of the ranks of one node.

    python benchmarks/decoded_images.py BEFORE AFTER [--images 4000] [--ranks 4] [--rounds 3]
                                        [--write docs/results/decoded-images.md]

BEFORE and AFTER are folders with a checkout each (git worktree add); both run on the packages of this Python, by mpirun
on this machine, in turn within each round.

    each by itself   every rank decodes all images and keeps them, as a script does that keeps a decoded dataset
    before, after    the checkouts: task image_folder, loaded by all ranks together

Memory: what the proportional set sizes (Pss in /proc/PID/smaps_rollup) of all ranks together grow by, from before the
images are loaded until every rank has read all of them; a page that four ranks have mapped counts a quarter in each.
Seconds: processor time of all threads of all ranks while they load.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
from image_folder import commit
from machine import machine, versions
from PIL import Image

CLASSES, SIDE, STORED, KINDS = 10, 160, 128, 64  # images of so many kinds lie in the files
TEST = 100  # images
LIMIT_S = 900.0
EACH, ENGINES = "each by itself", ("horovod", "torch")
LOAD = f"""
import hashlib, json, sys, time
import hpc_adabatch as hab
from hpc_adabatch.tasks import ImageFolder

def pss():
    with open("/proc/self/smaps_rollup") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))

root, alone = sys.argv[1], sys.argv[2] == "alone"
cluster = hab.Cluster.start()
ImageFolder(root=root + "/few", image_size={STORED}).load(None if alone else cluster)  # imports what it takes
cluster.barrier()
bytes_before = pss()
cluster.barrier()
seconds = time.process_time()
data = ImageFolder(root=root, image_size={STORED}).load(None if alone else cluster)
seconds = time.process_time() - seconds
read = hashlib.sha256(data.train.tensors[0].numpy()).hexdigest()
cluster.barrier()
bytes_after = pss()
told = cluster.gather((bytes_after - bytes_before, seconds, read))
if cluster.leads:
    assert len({{read for *_, read in told}}) == 1
    grown, computed, read = zip(*told)
    print("FOUND", json.dumps([sum(grown), sum(computed), read[0]]), flush=True)
cluster.barrier()
cluster.stop()
"""


def write_images(root: Path, images: int) -> None:
    """Writes so many training images, JPEG files of smooth noise, into class folders, and a few to test."""
    draw, files = np.random.default_rng(0), []
    for _ in range(KINDS):
        rough, file = draw.integers(256, size=(SIDE // 8, SIDE // 8, 3), dtype=np.uint8), io.BytesIO()
        Image.fromarray(rough).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    for folder, of_train, of_test in ((root, images, TEST), (root / "few", CLASSES, CLASSES)):
        for part, n_images in (("train", of_train), ("val", of_test)):
            for name in range(CLASSES):
                (folder / part / str(name)).mkdir(parents=True)
            for number in range(n_images):
                (folder / part / str(number % CLASSES) / f"{number}.jpg").write_bytes(files[number % KINDS])


def loaded(checkout: Path, root: Path, ranks: int, engine: str, *, alone: bool) -> tuple[float, float, str]:
    """Returns the megabytes that all ranks together grew by, the seconds that they computed, and a sum of the pixels.

    Raises:
        RuntimeError: The ranks failed.
    """
    line = ["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none", sys.executable, "-c", LOAD]
    own = {
        "OMP_NUM_THREADS": "1",
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "PYTHONPATH": str(checkout),
    }
    own |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "ADABATCH_ENGINE": engine}
    done = subprocess.run(
        [*line, str(root), "alone" if alone else "together"],
        env=os.environ | own,
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    found = [text.removeprefix("FOUND ") for text in done.stdout.splitlines() if text.startswith("FOUND ")]
    if done.returncode or not found:
        raise RuntimeError(f"{checkout}: {done.stdout}{done.stderr}")
    grown, computed, read = json.loads(found[0])
    return grown / 1e6, computed, read


def main() -> None:
    """Measures, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    before, after = flags.before.resolve(), flags.after.resolve()
    ways = {EACH: (after, True), "before": (before, False), "after": (after, False)}
    arms = [(engine, way) for engine in ENGINES for way in ways]
    found: dict[tuple[str, str], list[tuple[float, float, str]]] = {arm: [] for arm in arms}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        write_images(root, flags.images)
        for number in range(flags.rounds):
            for arm in arms if number % 2 == 0 else reversed(arms):
                checkout, alone = ways[arm[1]]
                found[arm].append(loaded(checkout, root, flags.ranks, arm[0], alone=alone))
                print(f"{arm}: {found[arm][-1]}", file=sys.stderr, flush=True)
    if len({read for rounds in found.values() for *_, read in rounds}) != 1:
        raise SystemExit("the pixels differ")
    rows, ratios = [], []
    for (engine, way), rounds in found.items():
        shown = " | ".join(", ".join(f"{one[at]:,.{digits}f}" for one in rounds) for at, digits in ((0, 0), (1, 1)))
        rows.append(f"| {engine} | {way} | {shown} |")
    for engine in ENGINES:
        for other in (EACH, "before"):
            for at, what in enumerate(("memory", "processor seconds")):
                pairs = zip(found[engine, "after"], found[engine, other], strict=True)
                each = [mine[at] / its[at] for mine, its in pairs]
                shown = ", ".join(f"{one:.3f}" for one in each)
                ratios.append(f"{engine}, {what}: after / {other} {statistics.median(each):.3f} (rounds: {shown})")
    pixels = flags.images * 3 * STORED**2 / 1e6
    page = "\n".join(
        [
            "# Decoded images of a node: memory and the time to decode them",
            "",
            f"    python benchmarks/decoded_images.py BEFORE AFTER --images {flags.images} --rounds {flags.rounds}",
            "",
            f"{flags.images:,} JPEG files of {SIDE} x {SIDE} pixels, kept as {STORED} x {STORED}: {pixels:,.0f} MB of"
            " pixels.",
            f"Before: {commit(before)}; after: {commit(after)}.",
            f"{machine(flags.ranks)};",
            f"{versions()}; {date.today()};",
            f"{flags.rounds} rounds, all in each, in alternating order.",
            "",
            "| engine | images | MB of all ranks together | processor seconds of all ranks together |",
            "|---|---|---|---|",
            *rows,
            "",
            *(f"- {ratio}" for ratio in ratios),
            "",
            f"- {EACH}: every rank decodes all images and keeps them.",
            "- before: each image is decoded by one rank, which hands it on; every rank keeps a copy of all.",
            "- after: each image is decoded by one rank, into the one copy of the node.",
            "",
            "Memory: growth of the proportional set sizes of the ranks, from before they load until each has read all",
            "images. Seconds: of all threads, with those in which ranks wait for each other: Horovod's waits take the",
            "core, torch's sleep. Pixels are equal in all runs, bit by bit.",
            "",
        ]
    )
    print(page)
    if flags.write:
        flags.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
