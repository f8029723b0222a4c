"""A folder of images as torchvision's ImageFolder: ``ROOT/train/CLASS/FILE``, ``ROOT/val/CLASS/FILE`` (else ``test``).

Rank 0 lists the folder and tells the others, because a cluster's file system answers questions about names slowly, and
all ranks would ask the same. Images that are kept in memory are each decoded by one rank, and a node keeps one copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from ..cluster import Cluster, SingleProcess
from ..errors import InputError, real, require
from . import class_folders, leave_out
from .augment import CropAndFlip, NoAugmentation, Prepare
from .class_folders import ENDINGS
from .classification import Classification
from .images import ImageFiles, ImagePaths, decode_all
from .task import TaskData


@dataclass(frozen=True)
class Listing:
    """The images of one part of a folder, not yet read."""

    files: ImagePaths
    """Paths of the images."""
    targets: np.ndarray
    """Number of the class of each image, shape (images,), int64."""
    classes: list[str]
    """Names of the classes, by number."""
    passed_over: list[str]
    """Paths of the files whose names are not those of images."""
    left_out: int
    """Number of images that are left out."""


@dataclass(frozen=True, kw_only=True)
class FolderTask(Classification):
    """A task that reads a folder of images with one subfolder for each class.

    Raises:
        InputError: A field is out of range.
    """

    root: str = "data/images"
    """Folder that holds train/ and val/ (or test/, which is left alone where there is val/)."""
    memory_gb: float = 4.0
    """Most memory for decoded images, to train and to test each, in GB a node (a rank where its ranks cannot share it);
    those of larger folders are decoded each time they are read."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Mean of each channel, on the scale 0 to 1; ImageNet's by default."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Standard deviation of each channel, on the scale 0 to 1; ImageNet's by default."""
    leave_out: str | None = None
    """Text file that names images to leave out, by their paths below root; in training another of its class stands in
    for each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        memory = self.memory_gb
        require(real(memory) >= 0, "task.memory_gb", memory, "0 or more", "--task.memory_gb 4")
        means = len(self.mean) == 3 and all(math.isfinite(real(mean)) for mean in self.mean)
        require(means, "task.mean", self.mean, "three numbers")
        deviations = len(self.std) == 3 and all(0 < real(std) < math.inf for std in self.std)
        require(deviations, "task.std", self.std, "three numbers above 0")

    def listings(self, cluster: Cluster) -> tuple[Listing, Listing]:
        """Returns the images to train on and the images to test, not yet read, as rank 0 finds them.

        Args:
            cluster: The ranks, all of which call this.

        Raises:
            InputError: There are none, or their classes differ; every rank raises it.
        """
        with cluster.together():
            found = self._listings() if cluster.leads else None
        listings: tuple[Listing, Listing] = cluster.tell(found)
        return listings

    def dataset(self, listing: Listing, size: int, cluster: Cluster) -> Dataset[Any]:
        """Returns the images as squares of ``size`` pixels a side: in memory, or decoded each time they are read.

        Args:
            listing: The images.
            size: Pixels a side.
            cluster: The ranks, each of which decodes a part of what is kept in memory.
        """
        if len(listing.files) * 3 * size * size > self.memory_gb * 1e9:
            return ImageFiles(listing.files, listing.targets, size)
        pixels = decode_all(listing.files, size, torch.get_num_threads(), cluster)
        return TensorDataset(pixels, torch.from_numpy(listing.targets))

    def told(self, train: Listing, test: Listing) -> str:
        """Returns the line by which a run says what of the folder it does not read; empty where it reads all."""
        said = []
        if all((Path(self.root) / name).is_dir() for name in ("val", "test")):
            said.append(f"{self.root} has val/ and test/: val/ is what the run is tested on")
        if train.left_out or test.left_out:
            both = f"{train.left_out} training and {test.left_out} test image(s)"
            said.append(f"{self.leave_out}: {both} left out; in training others of their classes stand in")
        if passed_over := train.passed_over + test.passed_over:
            said.append(f"{len(passed_over)} file(s) not named as images are not read, such as {passed_over[0]}")
        return "; ".join(said)

    def _listings(self) -> tuple[Listing, Listing]:
        left_out = leave_out.read(self.leave_out, self.root) if self.leave_out is not None else set()
        train, test = self._list(left_out, "train"), self._list(left_out, "val", "test")
        only = sorted(set(train.classes) ^ set(test.classes))
        given = f"{self.root}: {', '.join(only[:3])}{', ...' if len(only) > 3 else ''} in one of two"
        require(not only, "task.root", given, "the same class folders to train and to test")
        return train, test

    def _list(self, left_out: set[str], *parts: str) -> Listing:
        folder = next((Path(self.root) / part for part in parts if (Path(self.root) / part).is_dir()), None)
        if folder is None:
            allowed = f"a folder that holds {' or '.join(part + '/' for part in parts)}"
            raise InputError("task.root", self.root, allowed, "--task.root DIR")
        try:
            found = class_folders.find(folder)
        except OSError as error:
            allowed = f"class folders with images in each, named as {', '.join(ENDINGS)}"
            raise InputError("task.root", f"{folder} ({error})", allowed, "--task.root DIR") from error
        names = [path[len(str(Path(self.root))) + 1 :] for path in found.paths]
        targets = np.array(found.targets, dtype=np.int64)
        left_out = {name for name in left_out if name.startswith(f"{folder.name}/")}
        for name in left_out:
            known = name.split("/")[1] in found.classes and class_folders.is_image(name)
            require(known, "task.leave_out", f"{self.leave_out}: {name}", "paths of images in class folders")
        if left_out:
            names = leave_out.applied(left_out, names, trains=folder.name == "train")
            numbers = {name: number for number, name in enumerate(found.classes)}
            targets = np.array([numbers[name.split("/")[1]] for name in names], dtype=np.int64)
        paths = ImagePaths(self.root, names, self.leave_out)
        return Listing(paths, targets, found.classes, found.passed_over, len(left_out))


@dataclass(frozen=True, kw_only=True)
class ImageFolder(FolderTask):
    """A folder of images with one subfolder for each class."""

    image_size: int | None = None
    """Pixels a side after scaling and cutting out the middle; those of the first training image when not given."""
    augment: bool = True
    """Crops training images at random and mirrors half of them."""
    padding: int = 4
    """Number of pixels added on each side before the random crop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        size = self.image_size
        require(size is None or size > 0, "task.image_size", size, "1 or more", "--task.image_size 32")
        require(self.padding >= 0, "task.padding", self.padding, "0 or more", "--task.padding 4")

    def load(self, cluster: Cluster | None = None) -> TaskData:
        cluster = cluster or SingleProcess()
        train, test = self.listings(cluster)
        with cluster.together():
            side = _side(train.files) if self.image_size is None and cluster.leads else self.image_size
        size = cluster.tell(side)
        prepare = Prepare(tuple(self.mean), tuple(self.std))
        return TaskData(
            train=self.dataset(train, size, cluster),
            test=self.dataset(test, size, cluster),
            augment=CropAndFlip(prepare, self.padding, flip=True) if self.augment else NoAugmentation(prepare),
            prepare=prepare,
            sample_shape=(3, size, size),
            n_classes=len(train.classes),
            told=self.told(train, test),
        )


def _side(files: ImagePaths) -> int:
    files.decode(0, 1)  # says so when the file is no image
    with Image.open(files[0]) as image:
        return min(image.size)
