"""CIFAR-10 and CIFAR-100 through torchvision: 50,000 images of 32x32 pixels to train on, 10,000 to test.

Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import TensorDataset

from ..errors import InputError, require, whole
from .augment import CropAndFlip, NoAugmentation, Prepare
from .classification import Classification
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

    def _open(self, train: bool, download: bool) -> Any:
        from .vision import datasets

        kind = getattr(datasets, self._torchvision_name())
        try:
            return kind(self.root, train=train, download=download)
        except (RuntimeError, OSError) as error:
            raise InputError(
                f"task.{'download' if download else 'root'}",
                f"{self.root} ({str(error).splitlines()[0]})",
                f"a folder with torchvision's {self._torchvision_name()}",
                "--task.root DIR, or --task.download true on a machine with network",
            ) from error

    def _torchvision_name(self) -> str:
        return "CIFAR10"

    def fetch(self) -> None:
        if self.download:
            self._open(train=True, download=True)

    def load(self) -> TaskData:
        train, test = self._open(train=True, download=False), self._open(train=False, download=False)
        prepare = Prepare(MEAN, STD)
        return TaskData(
            train=_tensors(train),
            test=_tensors(test),
            augment=CropAndFlip(prepare, self.padding, flip=True) if self.augment else NoAugmentation(prepare),
            prepare=prepare,
            sample_shape=(3, 32, 32),
            n_classes=len(train.classes),
        )


class Cifar100(Cifar10):
    """CIFAR-100: 50,000 training and 10,000 test images of 32x32 pixels in 100 classes, as torchvision stores them."""

    def _torchvision_name(self) -> str:
        return "CIFAR100"


def _tensors(dataset: Any) -> TensorDataset:
    images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()  # (images, 3, 32, 32), uint8
    return TensorDataset(images, torch.tensor(dataset.targets))
