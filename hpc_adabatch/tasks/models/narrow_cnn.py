"""A narrow convolutional network for studies on a few cores, with BatchNorm and without.

    name             normalisation    parameters    multiplications per image forward
    narrow_cnn       none             33,834        2.8 million at 32x32, 0.7 million at 16x16
    narrow_cnn_bn    BatchNorm        33,946        the same

These are for 3 channels and 10 classes; small_cnn has 151,882 parameters and takes 19.9 million multiplications at
32x32. Without BatchNorm the gradient of a batch does not depend on how it is cut into micro-batches, so ranks and
accumulation change a run by rounding only. With BatchNorm the network learns faster and bears higher learning rates:
on 20,000 CIFAR-10 images with batch 64 and momentum 0.9 it is ahead after 4 epochs at rate 0.01, and at 0.1 only the
network with BatchNorm learns.
"""

from __future__ import annotations

import torch
from torch import nn

WIDTHS = (16, 32, 64)
GRID = 4  # positions a side that the linear layer sees


class NarrowCnn(nn.Module):
    """Three 3x3 convolutions of 16, 32 and 64 channels, each followed by pooling, and one linear layer.

    Args:
        n_classes: Number of outputs.
        channels_in: Number of channels of the images, which have 4 pixels a side or more.
        batch_norm: Puts BatchNorm between convolution and activation; the convolutions then have no bias.
    """

    def __init__(self, n_classes: int, channels_in: int = 3, *, batch_norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, channels in zip((channels_in, *WIDTHS), WIDTHS, strict=False):
            convolution = nn.Conv2d(before, channels, 3, padding=1, bias=not batch_norm)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            normalisation = [nn.BatchNorm2d(channels)] if batch_norm else []
            layers += [convolution, *normalisation, nn.ReLU(), nn.MaxPool2d(2)]
        layers[-1] = nn.AdaptiveMaxPool2d(GRID)  # at 32x32 the same as pooling by 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTHS[-1] * GRID**2, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (samples, channels, height, width) -> (samples, classes)
        return self.head(self.features(images).flatten(1))
