"""Any folder of images as torchvision's ImageFolder: ``ROOT/train/CLASS/FILE``, ``ROOT/test/CLASS/FILE`` (or ``val``).

Not here: decoding (images.py), random crops (augment.py), ImageNet's crops (imagenet.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from ..errors import InputError, require
from .augment import CropAndFlip, NoAugmentation, Prepare
from .classification import Classification
from .images import ImageFiles, decode, decode_all
from .task import TaskData


@dataclass(frozen=True)
class Listing:
    """The images of one part of a folder, not yet read."""

    files: list[Path]
    targets: list[int]
    classes: list[str]


@dataclass(frozen=True, kw_only=True)
class FolderTask(Classification):
    """What tasks share that read a folder of images, one subfolder a class."""

    root: str = "data/images"
    """Folder that holds train/ and test/ (or val/)."""
    memory_gb: float = 4.0
    """Decoded images up to this size (per rank) are kept in memory; larger folders are decoded at each reading."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Of the channels, on the scale 0 to 1; ImageNet's by default."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Of the channels, likewise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        good = len(self.mean) == len(self.std) == 3 and min(self.std) > 0
        require(good, "task.std", self.std, "three numbers above 0")

    def listings(self) -> tuple[Listing, Listing]:
        """The images to train on, and to test.

        Raises:
            InputError: there are none, or their classes differ.
        """
        train, test = self._list("train"), self._list("test", "val")
        require(
            train.classes == test.classes,
            "task.root",
            f"{self.root}: {len(train.classes)} classes to train, {len(test.classes)} to test",
            "the same class folders in both",
        )
        return train, test

    def dataset(self, listing: Listing, size: int) -> Dataset[Any]:
        """The images as squares of ``size`` pixels a side: in memory, or decoded at each reading."""
        if len(listing.files) * 3 * size * size > self.memory_gb * 1e9:
            return ImageFiles(listing.files, listing.targets, size)
        return TensorDataset(decode_all(listing.files, size, torch.get_num_threads()), torch.tensor(listing.targets))

    def _list(self, *names: str) -> Listing:
        from .vision import datasets

        folder = next((Path(self.root) / name for name in names if (Path(self.root) / name).is_dir()), None)
        if folder is None:
            raise InputError(
                "task.root", self.root, f"a folder that holds {' or '.join(n + '/' for n in names)}", "--task.root DIR"
            )
        try:
            found = datasets.ImageFolder(str(folder))
        except FileNotFoundError as error:
            raise InputError(
                "task.root", f"{folder} ({error})", "class folders with images in each", "--task.root DIR"
            ) from error
        return Listing([Path(path) for path, _ in found.samples], found.targets, found.classes)


@dataclass(frozen=True, kw_only=True)
class ImageFolder(FolderTask):
    """A folder of images, one subfolder a class."""

    image_size: int | None = None
    """Pixels a side after scaling and cutting out the middle; as the first training image when not given."""
    augment: bool = True
    """Random crop and mirror of training images."""
    padding: int = 4
    """Pixels added on each side before the random crop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        size = self.image_size
        require(size is None or size > 0, "task.image_size", size, "1 or more", "--task.image_size 32")
        require(self.padding >= 0, "task.padding", self.padding, "0 or more", "--task.padding 4")

    def load(self) -> TaskData:
        train, test = self.listings()
        size = self.image_size or _side(train.files[0])
        prepare = Prepare(tuple(self.mean), tuple(self.std))
        return TaskData(
            train=self.dataset(train, size),
            test=self.dataset(test, size),
            augment=CropAndFlip(prepare, self.padding, flip=True) if self.augment else NoAugmentation(prepare),
            prepare=prepare,
            sample_shape=(3, size, size),
            n_classes=len(train.classes),
        )


def _side(path: Path) -> int:
    decode(path, 1)  # says so when the file is no image
    with Image.open(path) as image:
        return min(image.size)
