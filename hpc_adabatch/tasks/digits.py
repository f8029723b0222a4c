"""Handwritten digits: 1,797 images of 8x8 pixels that are part of scikit-learn. Real data without a download.

Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import TensorDataset

from .augment import CropAndFlip, NoAugmentation, Prepare
from .classification import Classification
from .task import TaskData

N_TEST = 360  # one in five, chosen once and for all


@dataclass(frozen=True, kw_only=True)
class Digits(Classification):
    """Handwritten digits of scikit-learn: 1,437 training and 360 test images of 8x8 pixels in 10 classes."""

    augment: bool = False
    """Shifts training images at random by up to one pixel."""

    def load(self) -> TaskData:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        images = torch.from_numpy(pixels.astype(np.float32) / 16.0).view(-1, 1, 8, 8)
        targets = torch.from_numpy(labels.astype(np.int64))
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
