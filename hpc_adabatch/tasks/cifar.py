"""CIFAR-10 and CIFAR-100 through torchvision: 50,000 images of 32x32 pixels to train on, 10,000 to test.

Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import TensorDataset

from ..cluster import Cluster, SingleProcess
from ..cluster.node_memory import NodeMemory
from ..errors import InputError, require, whole
from .augment import CropAndFlip, NoAugmentation, Prepare
from .classification import Classification
from .download import bring
from .task import TaskData

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # for both sets, as in the AdaBatch authors' code


@dataclass(frozen=True, kw_only=True)
class Cifar10(Classification):
    """CIFAR-10: 50,000 training and 10,000 test images of 32x32 pixels in 10 classes, as torchvision stores them."""

    root: str = "data"
    """Folder that holds torchvision's copy of the data."""
    download: bool = False
    """Downloads the data to the folder if it is missing; needs network."""
    augment: bool = True
    """Crops training images at random and mirrors half of them."""
    padding: int = 4
    """Number of pixels added on each side before the random crop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(whole(self.padding) >= 0, "task.padding", self.padding, "0 or more", "--task.padding 4")

    def _open(self, train: bool) -> Any:
        with self._explaining("root"):
            return self._kind()(self.root, train=train)

    @contextmanager
    def _explaining(self, field: str) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, OSError) as error:
            raise InputError(
                f"task.{field}",
                f"{self.root} ({str(error).splitlines()[0]})",
                f"a folder with torchvision's {self._torchvision_name()}",
                "--task.root DIR, or --task.download true on a machine with network",
            ) from error

    def _kind(self) -> Any:
        from .vision import datasets

        return getattr(datasets, self._torchvision_name())

    def _torchvision_name(self) -> str:
        return "CIFAR10"

    def fetch(self) -> None:
        if not self.download:
            return
        from .vision import datasets

        kind, root = self._kind(), Path(self.root)
        with suppress(RuntimeError, OSError):  # whoever was first may have brought all of it
            kind(root, train=True)
            return
        with self._explaining("download"):
            archive = root / kind.filename  # copied there by hand, where there is no network
            complete = datasets.utils.check_integrity(archive, kind.tgz_md5)
            bring(root, lambda folder: kind(folder, train=True, download=True), [archive] if complete else [])

    def load(self, cluster: Cluster | None = None) -> TaskData:
        cluster = cluster or SingleProcess()
        (train, classes), (test, _) = (self._kept(cluster, train=train) for train in (True, False))
        prepare = Prepare(MEAN, STD)
        return TaskData(
            train=train,
            test=test,
            augment=CropAndFlip(prepare, self.padding, flip=True) if self.augment else NoAugmentation(prepare),
            prepare=prepare,
            sample_shape=(3, 32, 32),
            n_classes=len(classes),
        )

    def _kept(self, cluster: Cluster, *, train: bool) -> tuple[TensorDataset, list[str]]:
        """Returns a set and the names of its classes; one rank of each node reads it, and the node keeps one copy.

        Raises:
            InputError: The data are missing or damaged; every rank raises it.
        """
        opened = None
        with cluster.together():
            if cluster.leads:
                opened = self._open(train)
        told = (opened.data.shape, opened.targets, opened.classes) if opened is not None else None
        (images, height, width, channels), targets, classes = cluster.tell(told)
        shape = (images, channels, height, width)
        memory = NodeMemory(math.prod(shape), cluster)
        with cluster.together():
            if cluster.rank == memory.ranks[0]:
                stored = (opened if opened is not None else self._open(train)).data  # uint8, channels last
                memory.bytes.reshape(shape)[:] = stored.transpose(0, 3, 1, 2)
        return TensorDataset(torch.from_numpy(memory.kept().reshape(shape)), torch.tensor(targets)), classes


class Cifar100(Cifar10):
    """CIFAR-100: 50,000 training and 10,000 test images of 32x32 pixels in 100 classes, as torchvision stores them."""

    def _torchvision_name(self) -> str:
        return "CIFAR100"
