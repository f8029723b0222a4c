"""Handwritten digits: 1,797 images of 8x8 pixels that are part of scikit-learn. Real data without a download.

Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
"""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

from ..cluster import Cluster
from ..errors import InputError
from .augment import CropAndFlip, NoAugmentation, Prepare
from .classification import Classification
from .task import TaskData

N_TEST = 360  # one in five, chosen once and for all


@dataclass(frozen=True, kw_only=True)
class Digits(Classification):
    """Handwritten digits of scikit-learn: 1,437 training and 360 test images of 8x8 pixels in 10 classes."""

    augment: bool = False
    """Shifts training images at random by up to one pixel."""

    def load(self, cluster: Cluster | None = None) -> TaskData:
        table = _read()
        images = torch.from_numpy(table[:, :-1].astype(np.float32) / 16.0).view(-1, 1, 8, 8)
        targets = torch.from_numpy(table[:, -1].astype(np.int64))
        order = torch.from_numpy(np.random.Generator(np.random.PCG64(0)).permutation(len(images)))
        test, train = order[:N_TEST], order[N_TEST:]
        prepare = Prepare(mean=(0.305,), std=(0.376,))  # of all pixels
        return TaskData(
            train=TensorDataset(images[train], targets[train]),
            test=TensorDataset(images[test], targets[test]),
            augment=CropAndFlip(prepare, padding=1, flip=False) if self.augment else NoAugmentation(prepare),
            prepare=prepare,
            sample_shape=(1, 8, 8),
            n_classes=10,
        )


def _read() -> np.ndarray:
    """Returns pixels from 0 to 16 and, in the last column, labels. Shape (1797, 65)."""
    package = importlib.util.find_spec("sklearn")  # found, not imported: that would take each rank a second
    if package is None or package.origin is None:
        raise InputError("task", "digits", "another task: scikit-learn, which carries them, is not installed")
    with gzip.open(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        return np.loadtxt(file, delimiter=",")
