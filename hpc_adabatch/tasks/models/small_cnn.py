"""A small convolutional network without normalisation layers, for small images and exact comparisons.

Without BatchNorm the gradient of a batch does not depend on how it is cut into micro-batches.
"""

from __future__ import annotations

import torch
from torch import nn


class SmallCnn(nn.Module):
    """Two convolutions, pooling to a grid of 4x4 and two fully connected layers.

    Args:
        n_classes: Number of outputs.
        channels_in: Number of channels of the images.
        width: Number of channels of the first convolution; the second has twice as many.
    """

    def __init__(self, n_classes: int, channels_in: int, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels_in, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(4),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * width, 128), nn.ReLU(), nn.Linear(128, n_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (samples, channels, height, width) -> (samples, classes)
        return self.head(self.features(images))
