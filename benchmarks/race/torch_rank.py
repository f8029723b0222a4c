"""A rank of torch.distributed, which srun has started: its images, its order of them, its part of an evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from setting import MOMENTUM, WEIGHT_DECAY, Run, augment, prepare, stored
from torch import nn
from torch.utils.data import Dataset, Sampler


def rank() -> int:
    return int(os.environ["SLURM_PROCID"])


def ranks() -> int:
    return int(os.environ["SLURM_NTASKS"])


def join() -> None:
    dist.init_process_group("gloo", rank=rank(), world_size=ranks())  # meets at MASTER_ADDR


class Images(Dataset[Any]):
    """The training images, augmented a batch at a time, so that no loader costs an arm more than another.

    Args:
        run: The run.
        folder: Where the images are stored.
        first: The order that a loader's own order is taken of; the stored one when not given.
    """

    def __init__(self, run: Run, folder: Path, first: torch.Tensor | None = None) -> None:
        self._pixels, self._labels = stored(folder, "train", run.samples)
        self._first = first
        self._draws = torch.Generator().manual_seed(1000 * run.seed + rank())

    def __len__(self) -> int:
        return len(self._labels)

    def __getitems__(self, places: Any) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.as_tensor(places)
        chosen = chosen if self._first is None else self._first[chosen]
        keys = torch.randint(2**62, (len(chosen),), generator=self._draws)
        return augment(self._pixels[chosen], keys), self._labels[chosen]


class Order(Sampler[int]):
    """This rank's places of an epoch, of which any global batch is the same one as in all arms."""

    def __init__(self, run: Run) -> None:
        self._run, self._epoch = run, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(self._run.order(self._epoch)[rank() :: ranks()].tolist())

    def __len__(self) -> int:
        return self._run.samples // ranks()


def as_it_is(batch: Any) -> Any:
    """Returns a batch that ``Images`` has put together."""
    return batch


def sgd(run: Run, model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=run.rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def accuracy(model: nn.Module, folder: Path) -> float:
    """Returns the accuracy with rank 0's running statistics, as DDP has them; each rank sees a part of the test set."""
    for buffer in model.buffers():
        dist.broadcast(buffer, 0)
    pixels, labels = stored(folder, "test")
    model.eval()
    right = torch.zeros(1)
    for chosen in torch.arange(rank(), len(labels), ranks()).split(256):
        right += (model(prepare(pixels[chosen])).argmax(1) == labels[chosen]).sum()
    model.train()
    dist.all_reduce(right)
    return float(right) / len(labels)
