"""What all arms of the race have alike: images, their order and augmentation, networks, batches and schedules.

    images      CIFAR-10 at 16 x 16, decoded once into one file of bytes that all ranks map
    order       the same permutation for each seed and epoch (AdaptDL draws its own over the seed's first one)
    cnn         narrow_cnn with a linear layer of 512 units before its last: 553,514 weights, few operations, as in the
                networks of AlexNet's kind, where the sum of gradients is most of a step
    resnet20    ResNet-20: 272,474 weights, five times as many operations

Neither Horovod nor this package is imported here, because peers import this file, and threads of ours would cost their
processes time; the networks are the package's files, loaded alone.
"""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad

ROOT = Path(__file__).resolve().parents[2]
SIZE, PADDING = 16, 2  # pixels
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
MILESTONES, GAMMA = (0.3, 0.6, 0.8), 0.2  # parts of the epochs: 60, 120 and 160 of 200 in 1711.00489
STAGES, LR_FACTOR = 5, 0.75  # AdaBatch doubles four times, after 20, 40, 60 and 80 of 100 epochs in 1712.02029
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
RATES = {"cnn": 0.02, "resnet20": 0.1}  # at the small batch, by network


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one arm: all that decides what it does."""

    arm: str
    network: str
    link_mbit: int
    seed: int
    epochs: float
    """Passes over the data of the small batch, or as many on the clock of an arm that has one."""
    samples: int
    """Training images."""
    batch: int
    """The small global batch."""
    factor: float = 1.0
    """Learning rate over that of the small batch."""

    @property
    def name(self) -> str:
        """Returns a name for files, which no other run has."""
        what = f"{self.network}-{self.link_mbit}-{self.arm}-s{self.seed}"
        return f"{what}-{self.epochs:g}x{self.samples}-b{self.batch}-x{self.factor:g}"

    @property
    def largest(self) -> int:
        """Returns the largest global batch, to which AdaBatch doubles the small one."""
        return self.batch * 2 ** (STAGES - 1)

    @property
    def rate(self) -> float:
        """Returns the learning rate of the small batch."""
        return RATES[self.network]

    @property
    def milestones(self) -> tuple[float, ...]:
        """Returns the epochs at which the rate falls, or the batch grows instead."""
        return tuple(part * self.epochs for part in MILESTONES)

    def decay(self, epoch: float) -> float:
        """Returns the factor of the rate by the step schedule."""
        return GAMMA ** sum(milestone <= epoch for milestone in self.milestones)

    def stage(self, epoch: float) -> int:
        """Returns how often AdaBatch has doubled the batch."""
        return min(STAGES - 1, int(STAGES * epoch / self.epochs))

    def order(self, epoch: int) -> torch.Tensor:
        """Returns the images of an epoch in the order of batches/plan.py. Shape (samples,), int64."""
        seeds = np.random.SeedSequence([self.seed, epoch])
        return torch.from_numpy(np.random.Generator(np.random.PCG64(seeds)).permutation(self.samples))


def network(name: str, seed: int) -> nn.Module:
    """Returns a network with the weights of a seed."""
    torch.manual_seed(seed)
    if name == "resnet20":
        return _models("resnet_cifar").CifarResNet(20, 10)
    model = _models("narrow_cnn").NarrowCnn(10)
    model.head = nn.Sequential(nn.Linear(model.head.in_features, 512), nn.ReLU(), nn.Linear(512, 10))
    return model


def _models(name: str) -> Any:
    """Returns a file of hpc_adabatch/tasks/models/ as a module of its own."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "hpc_adabatch" / "tasks" / "models" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def store(source: Path, folder: Path) -> None:
    """Decodes train/CLASS/FILE and test/CLASS/FILE into arrays, in an order that a part of them may be taken of."""
    from hpc_adabatch.tasks.images import decode

    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        if (folder / f"{part}-labels.npy").exists():  # written last
            continue
        classes = sorted(path for path in (source / part).iterdir() if path.is_dir())
        found = [(path, label) for label, one in enumerate(classes) for path in sorted(one.iterdir())]
        found = [found[place] for place in np.random.default_rng(0).permutation(len(found))]
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
            pixels = np.stack(list(pool.map(lambda one: decode(one[0], SIZE), found)))
        np.save(folder / f"{part}-pixels.npy", pixels.transpose(0, 3, 1, 2))
        np.save(folder / f"{part}-labels.npy", np.array([label for _, label in found]))


def stored(folder: Path, part: str, samples: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns pixels, shape (images, 3, SIZE, SIZE), uint8, and labels, both mapped from their files."""
    arrays = (np.load(folder / f"{part}-{name}.npy", mmap_mode="c")[:samples] for name in ("pixels", "labels"))
    pixels, labels = map(torch.from_numpy, arrays)
    return pixels, labels


def prepare(pixels: torch.Tensor) -> torch.Tensor:
    """Returns normalised images, float32."""
    mean, std = (torch.tensor(of).view(-1, 1, 1) * 255 for of in (MEAN, STD))
    return (pixels.float() - mean) / std


def augment(pixels: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Returns images cut out of a border of PADDING pixels at random, half of them mirrored, and normalised.

    Args:
        pixels: The images, uint8. Shape (images, 3, SIZE, SIZE).
        keys: A random number for each of them, int64. Shape (images,).
    """
    shifts = 2 * PADDING + 1
    rows = ((keys >> 8) % shifts)[:, None] + torch.arange(SIZE)  # (images, SIZE)
    columns = ((keys >> 24) % shifts)[:, None] + torch.arange(SIZE)
    columns = torch.where(((keys >> 40) % 2).bool()[:, None], columns.flip(1), columns)
    places = (rows[:, :, None] * (SIZE + 2 * PADDING) + columns[:, None, :]).flatten(1)  # (images, SIZE * SIZE)
    bordered = pad(pixels, (PADDING,) * 4).flatten(2)
    return prepare(bordered.gather(2, places[:, None, :].expand(-1, 3, -1)).view_as(pixels))
