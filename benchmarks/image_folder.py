"""Compares two checkouts on a folder of many images: files per rank, and seconds from the start to the first step.

    python benchmarks/image_folder.py BEFORE AFTER [--images 200000] [--ranks 4] [--rounds 3] [--places disk,network]
                                      [--write docs/results/image-folder.md]

BEFORE and AFTER are folders with a checkout each (git worktree add); both run on the packages of this Python. In each
round both start, in alternating order, by mpirun on this machine, and are ended after their first step. The files that
each rank opens and the folders that it lists are counted by an audit hook of Python, in a start of their own.

    in memory       task.memory_gb as by default: all images are decoded before the first step
    read in steps   task.memory_gb 0: images are decoded as the steps read them
    disk            the images lie on this machine, in its page cache
    network         an SFTP server is asked for them through sshfs, mounted anew for each start: apt install sshfs socat
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import date
from pathlib import Path

import numpy as np
from first_step import LIMIT_S, below, commit, seconds, training
from machine import machine, versions
from PIL import Image

CLASSES, SIDE, KINDS = 100, 16, 256  # images of so many kinds lie in the files
TEST = 100  # images
MOUNT_S = 20.0
WAYS = {"in memory": [], "read in steps": ["--task.memory_gb=0"]}
TRAIN = ["--task=image_folder", "--model=small_cnn", "--policy=fixed", "--global_batch=64"]
COUNTER = """
import atexit, json, os, sys
ROOT, OUT = os.environ["COUNTED_FOLDER"], os.environ["COUNTS"]
counts = {"open": 0, "os.scandir": 0, "os.listdir": 0}
def hook(event, arguments):
    if event in counts and isinstance(arguments[0], (str, os.PathLike)) and os.fspath(arguments[0]).startswith(ROOT):
        counts[event] += 1
def tell():
    with open(f"{OUT}/{os.environ['OMPI_COMM_WORLD_RANK']}.json", "w") as file:
        json.dump([counts["open"], counts["os.scandir"] + counts["os.listdir"]], file)
if "OMPI_COMM_WORLD_RANK" in os.environ:
    sys.addaudithook(hook)
    atexit.register(tell)
"""


def write_images(root: Path, images: int) -> None:
    """Writes so many training images, of noise, into class folders, and a few to test."""
    draw, files = np.random.default_rng(0), []
    for _ in range(KINDS):
        file = io.BytesIO()
        Image.fromarray(draw.integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)).save(file, "PNG")
        files.append(file.getvalue())
    for part, n_images in (("train", images), ("val", TEST)):
        for name in range(CLASSES):
            (root / part / f"{name:03d}").mkdir(parents=True)
        for number in range(n_images):
            (root / part / f"{number % CLASSES:03d}" / f"{number}.png").write_bytes(files[number % KINDS])


@contextmanager
def over_network(root: Path) -> Iterator[Path]:
    """Yields a folder that shows these images by asking a server for each; it speaks through pipes, not through ssh.

    Raises:
        RuntimeError: It cannot be mounted.
    """
    with tempfile.TemporaryDirectory() as folder:
        seen = f"sshfs -f -o passive\\,ro 127.0.0.1\\:{root} {folder}"
        line = ["socat", "EXEC:/usr/lib/openssh/sftp-server", f"EXEC:{seen}"]
        server = subprocess.Popen(line, stderr=subprocess.DEVNULL)  # it says that the mount has ended
        try:
            give_up = time.monotonic() + MOUNT_S
            while not os.path.ismount(folder):
                if server.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError(f"sshfs does not show {root}")
                time.sleep(0.02)
            yield Path(folder)
        finally:
            subprocess.run(["fusermount3", "-u", "-z", folder], check=True)
            server.terminate()
            server.wait()


def flags_of(root: Path, more: list[str]) -> list[str]:
    """Returns the flags of training on the images of this folder."""
    return [f"--task.root={root}", *TRAIN, *more]


def counts(checkout: Path, root: Path, ranks: int, more: list[str]) -> list[list[int]]:
    """Returns the files that each rank has opened up to a stop after its first steps, and the folders it has listed."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        (Path(folder) / "sitecustomize.py").write_text(COUNTER, encoding="utf-8")
        own = {"COUNTED_FOLDER": str(root), "COUNTS": str(out), "PYTHONPATH": folder}
        with training(checkout, ranks, flags_of(root, more), out, own) as process:
            for rank in below(process.pid):
                os.kill(rank, signal.SIGTERM)
            process.wait(LIMIT_S)
        found = [out / f"{rank}.json" for rank in range(ranks)]
        return [json.loads(file.read_text(encoding="utf-8")) for file in found]


def span(numbers: list[int]) -> str:
    """Returns the numbers of all ranks in short: rank 0's, and those of the others."""
    first, rest = numbers[0], sorted({*numbers[1:]})
    others = f"{rest[0]:,}" + (f" to {rest[-1]:,}" if len(rest) > 1 else "")
    return f"{first:,}" if rest == [first] else f"{first:,} on rank 0, {others} on others"


PLACES: dict[str, Callable[[Path], AbstractContextManager[Path]]] = {"disk": nullcontext, "network": over_network}


def main() -> None:
    """Measures, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--places", default=",".join(PLACES), help="disk, network, or both")
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    checkouts = {"before": flags.before.resolve(), "after": flags.after.resolve()}
    places = {name: PLACES[name] for name in flags.places.split(",")}
    rows, ratios = [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        write_images(root, flags.images)
        for (place, shown_at), (way, more) in itertools.product(places.items(), WAYS.items()):
            case = f"{place}, {way}"
            with shown_at(root) as seen:
                files = {name: counts(checkout, seen, flags.ranks, more) for name, checkout in checkouts.items()}
            took: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
            for number in range(flags.rounds):
                for name in checkouts if number % 2 == 0 else reversed(checkouts):
                    with shown_at(root) as seen:
                        took[name].append(seconds(checkouts[name], flags.ranks, flags_of(seen, more)))
                    print(f"{case}, {name}: {took[name][-1]}", file=sys.stderr, flush=True)
            for name in checkouts:
                opened, listed = (span([rank[at] for rank in files[name]]) for at in (0, 1))
                shown = " | ".join(", ".join(f"{one[at]:.1f}" for one in took[name]) for at in (0, 1))
                rows.append(f"| {case} | {name} | {opened} | {listed} | {shown} |")
            for at, what in enumerate(("seconds to the first step", "seconds computed")):
                each = [after[at] / before[at] for before, after in zip(took["before"], took["after"], strict=True)]
                shown = ", ".join(f"{one:.2f}" for one in each)
                ratios.append(f"{case}, {what}: after / before {statistics.median(each):.2f} (rounds: {shown})")
    commits = {name: commit(checkout) for name, checkout in checkouts.items()}
    page = "\n".join(
        [
            "# A folder of many images: who opens what, and when training begins",
            "",
            "    python benchmarks/image_folder.py BEFORE AFTER",
            "",
            f"{flags.images:,} PNG files of {SIDE} x {SIDE} pixels in {CLASSES} class folders, {TEST} to test. Before:"
            f" {commits['before']}; after: {commits['after']}.",
            f"{machine(flags.ranks)}; {versions()}; {date.today()}; {flags.rounds} rounds, both in each, in alternating"
            " order.",
            "",
            "| images | checkout | files opened | folders listed | seconds to the first step | seconds computed |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            *(f"- {ratio}" for ratio in ratios),
            "",
            "Seconds: from the start of mpirun to the end of the first step; those that all ranks computed until then.",
            "Files opened and folders listed: until the ranks left after their first steps, by an audit hook of Python",
            "in a start of its own; the images of those steps are among them where they are read in steps. On disk the",
            "files are in the page cache. By network an SFTP server on this machine is asked for each name and file,",
            "through sshfs, mounted anew for each start.",
            "",
        ]
    )
    print(page)
    if flags.write:
        flags.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
