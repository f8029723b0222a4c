"""VGG-19 with BatchNorm for images of 32x32 pixels: sixteen 3x3 convolutions and one linear layer.

Simonyan & Zisserman 2015, https://arxiv.org/abs/1409.1556, table 1, column E, with one linear layer instead of three,
as in the AdaBatch experiments: five poolings turn 32x32 pixels into one position.

    channels    64 64 | 128 128 | 256 256 256 256 | 512 512 512 512 | 512 512 512 512 |      | pooling by 2

With 3 channels and 10 classes there are 20,035,018 parameters. The convolutions have no bias, which BatchNorm would
subtract again; with biases, as in the AdaBatch authors' code, there would be 5,504 more. Larger images end as several
positions, whose mean is taken; below 32 pixels a side none is left.
"""

from __future__ import annotations

import torch
from torch import nn

STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels, convolutions


class CifarVgg(nn.Module):
    """VGG-19 with BatchNorm for images of 32x32 pixels: five stages of 3x3 convolutions, each followed by pooling.

    Args:
        n_classes: Number of outputs.
        channels_in: Number of channels of the images.
    """

    def __init__(self, n_classes: int, channels_in: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels_in
        for channels, convolutions in STAGES:
            for _ in range(convolutions):
                convolution = nn.Conv2d(before, channels, 3, padding=1, bias=False)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                layers += [convolution, nn.BatchNorm2d(channels), nn.ReLU()]
                before = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(before, n_classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (samples, channels, 32, 32) -> (samples, classes)
        return self.head(self.features(images).mean(dim=(2, 3)))
