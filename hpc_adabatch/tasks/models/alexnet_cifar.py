"""AlexNet for images of 32x32 pixels: five convolutions and one linear layer, no normalisation, no dropout.

After Krizhevsky 2014, https://arxiv.org/abs/1404.5997, in the form that the AdaBatch experiments took from the
collection bearpaw/pytorch-classification: the three fully connected layers have become one, and 32x32 pixels end as
one position.

    32x32  conv 11x11 /4, 64   8x8  pool  4x4  conv 5x5, 192  4x4  pool  2x2  conv 3x3, 384, 256, 256  2x2  pool  1x1

2,472,266 parameters with 3 channels and 10 classes. Larger images end as several positions, whose mean is taken; below
29 pixels a side none is left. Without normalisation the network starts to learn at learning rates of about 0.01.
"""

from __future__ import annotations

import torch
from torch import nn


class CifarAlexNet(nn.Module):
    """AlexNet for images of 32x32 pixels: five convolutions and one linear layer.

    Args:
        n_classes: Number of outputs.
        channels_in: Number of channels of the images.
    """

    def __init__(self, n_classes: int, channels_in: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels_in, 64, 11, stride=4, padding=5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Linear(256, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (samples, channels, 32, 32) -> (samples, classes)
        return self.head(self.features(images).mean(dim=(2, 3)))
