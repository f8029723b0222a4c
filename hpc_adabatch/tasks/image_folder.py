"""Any folder of images as torchvision's ImageFolder: ``ROOT/train/CLASS/FILE``, ``ROOT/test/CLASS/FILE`` (or ``val``).

Not here: decoding (images.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from ..errors import InputError, require
from .augment import CropAndFlip, NoAugmentation, Prepare
from .images import ImageFiles, decode, decode_all
from .models import build_model
from .task import Task, TaskData


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Task):
    """A folder of images, one subfolder a class."""

    root: str = "data/images"
    """Folder that holds train/ and test/ (or val/)."""
    image_size: int | None = None
    """Pixels a side after scaling and cutting out the middle; as the first training image when not given."""
    augment: bool = True
    """Random crop and mirror of training images."""
    padding: int = 4
    """Pixels added on each side before the random crop."""
    memory_gb: float = 4.0
    """Decoded images up to this size (per rank) are kept in memory; larger folders are decoded at each reading."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Of the channels, on the scale 0 to 1; ImageNet's by default."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Of the channels, likewise."""

    def load(self) -> TaskData:
        train_files, train_targets, classes = self._files("train")
        test_files, test_targets, test_classes = self._files("test", "val")
        require(
            classes == test_classes,
            "task.root",
            f"{self.root}: {len(classes)} classes to train, {len(test_classes)} to test",
            "the same class folders in both",
        )
        require(
            self.image_size is None or self.image_size > 0,
            "task.image_size",
            self.image_size,
            "1 or more",
            "--task.image_size 32",
        )
        require(self.padding >= 0, "task.padding", self.padding, "0 or more", "--task.padding 4")
        require(
            len(self.mean) == len(self.std) == 3 and min(self.std) > 0, "task.std", self.std, "three numbers above 0"
        )
        size = self.image_size or _side(train_files[0])
        prepare = Prepare(tuple(self.mean), tuple(self.std))
        return TaskData(
            train=self._dataset(train_files, train_targets, size),
            test=self._dataset(test_files, test_targets, size),
            augment=CropAndFlip(prepare, self.padding, flip=True) if self.augment else NoAugmentation(prepare),
            prepare=prepare,
            sample_shape=(3, size, size),
            n_classes=len(classes),
        )

    def model(self, name: str, data: TaskData) -> nn.Module:
        return build_model(name, data.n_classes, data.sample_shape)

    def _files(self, *names: str) -> tuple[list[Path], list[int], list[str]]:
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
        return [Path(path) for path, _ in found.samples], [target for _, target in found.samples], found.classes

    def _dataset(self, files: list[Path], targets: list[int], size: int) -> Dataset[Any]:
        if len(files) * 3 * size * size > self.memory_gb * 1e9:
            return ImageFiles(files, targets, size)
        return TensorDataset(decode_all(files, size, torch.get_num_threads()), torch.tensor(targets))


def _side(path: Path) -> int:
    decode(path, 1)  # says so when the file is no image
    with Image.open(path) as image:
        return min(image.size)
