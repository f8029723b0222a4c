"""Compares how fast this package and torchvision read JPEG files that do not fit into memory, for ImageNet's crops.

    python benchmarks/jpeg_folder.py [--sizes 500x375,1024x768,3000x2000] [--megapixels 400] [--workers 2] [--rounds 5]
                                     [--write docs/results/jpeg-folder.md]

    torchvision    ImageFolder and DataLoader, all in workers: decode, RandomResizedCrop, mirror, ToTensor, Normalize
    ours           task imagenet, memory_gb 0: workers decode to squares of 256 pixels; crops and all else are made of
                   batches by this processor, where a job with a GPU has them made by the GPU
    ours, for GPUs the same without what a GPU would do

All read the same files in batches of 16, in turn within each round; seconds from the first batch to the last.
"""

from __future__ import annotations

import argparse
import gc
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import machine, versions
from PIL import Image
from torch.utils.data import DataLoader

import hpc_adabatch as hab
from hpc_adabatch.batches.keys import sample_keys
from hpc_adabatch.tasks import ImageNet
from hpc_adabatch.tasks.vision import datasets, torchvision

BATCH, KINDS = 16, 16  # samples of a batch; different images among the files


def write_images(root: Path, width: int, height: int, images: int) -> None:
    """Writes JPEG files of smooth colours with some noise, half of them into each of two classes."""
    draw, files = np.random.default_rng(0), []
    for _ in range(KINDS):
        blocks = Image.fromarray(draw.integers(256, size=(height // 8, width // 8, 3), dtype=np.uint8))
        smooth = np.asarray(blocks.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32)
        file = io.BytesIO()
        pixels = (smooth + draw.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(file, "JPEG", quality=88)
        files.append(file.getvalue())
    for part, count in (("train", images), ("val", 2)):
        for number in range(count):
            folder = root / part / str(number % 2)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.jpg").write_bytes(files[number % KINDS])


def plain(root: Path, workers: int) -> Iterator[int]:
    """Yields the samples of each batch as people read them with torchvision."""
    steps = torchvision.transforms
    task = ImageNet()
    transform = steps.Compose(
        [
            steps.RandomResizedCrop(task.image_size),
            steps.RandomHorizontalFlip(),
            steps.ToTensor(),
            steps.Normalize(task.mean, task.std),
        ]
    )
    loader = DataLoader(datasets.ImageFolder(str(root / "train"), transform), BATCH, shuffle=True, num_workers=workers)
    for images, _ in loader:
        yield len(images)


def ours(root: Path, workers: int, *, augments: bool = True) -> Iterator[int]:
    """Yields the samples of each batch as a run reads them."""
    data = ImageNet(root=str(root), memory_gb=0).load()
    batches = hab.AdaptiveBatches(data.train, BATCH, workers=workers)
    model = torch.nn.Linear(1, 1)
    training = hab.AdaptiveTraining(
        model, torch.optim.SGD(model.parameters(), lr=0.0), batches, cluster=hab.Cluster.start()
    )
    for step in training.epoch(0):
        for images, _ in step:
            if augments:
                data.augment(images, sample_keys(0, 0, torch.arange(len(images))))
            yield len(images)
            step.backward(model(torch.zeros(1, 1)).sum())
        step.update()


ARMS: dict[str, Callable[[Path, int], Iterator[int]]] = {
    "torchvision": plain,
    "ours": ours,
    "ours, for GPUs": partial(ours, augments=False),
}


def speed(read: Iterator[int]) -> float:
    """Returns the images of a second, from the first batch to the last."""
    next(read)
    began_s = time.perf_counter()
    return sum(read) / (time.perf_counter() - began_s)


def main() -> None:
    """Measures, and prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="500x375,1024x768,3000x2000")
    parser.add_argument("--megapixels", type=float, default=400, help="of all files of one size")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for size in flags.sizes.split(","):
        width, height = map(int, size.split("x"))
        images = max(8 * BATCH, round(flags.megapixels * 1e6 / (width * height)))
        took: dict[str, list[float]] = {name: [] for name in ARMS}
        with tempfile.TemporaryDirectory() as folder:
            write_images(Path(folder), width, height, images)
            for number in range(flags.rounds):
                for name in ARMS if number % 2 == 0 else reversed(ARMS):
                    took[name].append(speed(ARMS[name](Path(folder), flags.workers)))
                    gc.collect()  # workers of torch's loader
                    print(f"{size}, {name}: {took[name][-1]}", file=sys.stderr, flush=True)
        for name, speeds in took.items():
            ratios = [one / other for one, other in zip(speeds, took["torchvision"], strict=True)]
            rows.append(f"| {width} x {height} | {name} | {spread(speeds, 0)} | {spread(ratios, 2)} |")
    page = "\n".join(
        [
            "# JPEG files larger than memory",
            "",
            "    python benchmarks/jpeg_folder.py",
            "",
            f"{machine(1)}; {versions()}; {date.today()}; {flags.workers} workers; {flags.megapixels:g} megapixels of",
            f"files of each size, 128 at least; {flags.rounds} rounds: medians (least to most).",
            "",
            "| files | read by | images/s | of torchvision's, in its round |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )
    print(page)
    if flags.write:
        flags.write.write_text(page, encoding="utf-8")


def spread(values: list[float], digits: int) -> str:
    """Returns the median, with the least and the most."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})"


if __name__ == "__main__":
    main()
