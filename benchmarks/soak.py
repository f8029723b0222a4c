"""Trains for hours with a batch that changes all the time, and looks for memory and descriptors that are lost.

    python benchmarks/soak.py [--minutes 120] [--write docs/results/soak.md]

Two ranks train a small network on 1,200 images, which processes of each rank read from disk; the batch changes every
few steps, checkpoints are written inside and between epochs, and every epoch is evaluated. Each rank's memory and open
descriptors are read from /proc once a minute, from outside. The first tenth, in which everything is met for the first
time, is left out.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from machine import machine, versions
from PIL import Image

BATCHES = (8, 24, 12, 40, 16, 9, 32)


@dataclass(frozen=True)
class Look:
    """What a rank holds at one moment."""

    memory_mb: float
    """The resident memory that no other process shares."""
    descriptors: int
    """The open descriptors."""
    threads: int
    """The threads."""


def main() -> None:
    """Trains, looks, and prints or writes the page; exits with 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_images(folder / "images")
        changes = (f"{64 * n}sa:{BATCHES[n % len(BATCHES)]}" for n in range(1, 200_000))
        recipe = yaml.safe_load(Path("recipes/cifar10-resnet20-adabatch.yaml").read_text(encoding="utf-8"))
        recipe["policy"] = {"name": "schedule", "text": f"0:8 {' '.join(changes)}"}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        line = ["mpirun", "-np", "2", "--oversubscribe", sys.executable, "-m", "hpc_adabatch", "train"]
        line += [str(folder / "recipe.yaml"), "--epochs=100000"]
        line += [f"--task.root={folder / 'images'}", "--model=small_cnn", "--precision=float32", "--task.memory_gb=0"]
        line += ["--global_batch=8", "--max_micro_batch=16", "--workers=1", "--checkpoint_steps=50"]
        line += ["--optimizer.lr=0.001", "--out", str(folder / "run")]
        own = {"OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        log = (folder / "log.txt").open("w")
        process = subprocess.Popen(line, env=os.environ | own, stdout=log, stderr=log)
        looks: list[list[Look]] = []
        until = time.monotonic() + 60 * flags.minutes
        pause_s = min(60.0, 60 * flags.minutes / 30)
        while time.monotonic() < until:
            time.sleep(pause_s)
            if process.poll() is not None:
                raise RuntimeError((folder / "log.txt").read_text()[-2000:])
            looks.append([look(pid) for pid in ranks_of(process.pid)])
        epochs = (folder / "log.txt").read_text().count("test accuracy")
        for pid in ranks_of(process.pid):
            os.kill(pid, signal.SIGTERM)
        code = process.wait(timeout=600)
    text, grows = page(looks[len(looks) // 10 :], epochs, code, flags.minutes)
    print(text)
    if flags.write:
        flags.write.write_text(text, encoding="utf-8")
    sys.exit(grows)


def draw_images(root: Path) -> None:
    """Writes two classes of noise: 600 training images each, and 20 test images."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 600), ("test", 20)):
        for kind in ("a", "b"):
            (root / part / kind).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(256, size=(16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / kind / f"{number}.png")


def ranks_of(launcher: int) -> list[int]:
    """Returns the processes that mpirun has started, in the order of their ids."""
    found = subprocess.run(["pgrep", "-P", str(launcher)], capture_output=True, text=True, check=True)
    return sorted(int(word) for word in found.stdout.split())


def look(pid: int) -> Look:
    """Returns what a process holds."""
    process = Path(f"/proc/{pid}")
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    anonymous = int(lines["RssAnon"].split()[0]) / 1024
    return Look(anonymous, len(list((process / "fd").iterdir())), int(lines["Threads"]))


def page(looks: list[list[Look]], epochs: int, code: int, minutes: float) -> tuple[str, bool]:
    """Returns the page, and whether memory has grown by more than 2 % or descriptors at all."""
    rows, grows = [], code != 75
    third = max(1, len(looks) // 3)
    for rank in range(len(looks[0])):
        of = [each[rank] for each in looks]
        first, last = (statistics.median(each.memory_mb for each in part) for part in (of[:third], of[-third:]))
        # the fewest: a look may fall into an evaluation or a checkpoint, which open some more for a moment
        before, after = (min(each.descriptors for each in part) for part in (of[:third], of[-third:]))
        most = max(each.descriptors for each in of)
        grows = grows or last > 1.02 * first or after > before
        threads, growth = f"{of[0].threads} to {of[-1].threads}", 100 * (last / first - 1)
        rows.append(
            f"| {rank} | {first:.1f} | {last:.1f} | {growth:+.2f} % | {before} to {after} | {most} | {threads} |"
        )
    lines = [
        f"# {minutes:g} minutes with a batch that changes all the time",
        "",
        f"    python benchmarks/soak.py --minutes {minutes:g}",
        "",
        f"{machine(2)}; {versions()}. {epochs} epochs of 1,200 images.",
        "",
        "| rank | memory, first third, MB | last third | growth | descriptors, fewest of each third | most | threads |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines), grows


if __name__ == "__main__":
    main()
