"""ResNet-20, 32, 44, 56 and 110 for images of 32x32 pixels.

He, Zhang, Ren & Sun 2016, https://arxiv.org/abs/1512.03385, section 4.2: three stages of 2n layers with 16, 32 and 64
channels, depth 6n + 2. Shortcuts that change the shape are 1x1 convolutions (option B), as in the AdaBatch experiments.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import relu


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Args:
        channels_in: Number of channels of the input.
        channels: Number of channels of the output.
        stride: Stride of the first convolution.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = relu(self.norm1(self.conv1(inputs)))
        return relu(self.norm2(self.conv2(hidden)) + self.shortcut(inputs))


class CifarResNet(nn.Module):
    """A ResNet of 6n + 2 layers for images of 32x32 pixels.

    Args:
        depth: Number of layers, 6n + 2.
        n_classes: Number of outputs.
        channels_in: Number of channels of the images.
    """

    def __init__(self, depth: int, n_classes: int, channels_in: int = 3) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth {depth} is not 6n + 2")
        blocks = (depth - 2) // 6
        self.stem = nn.Sequential(nn.Conv2d(channels_in, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        widths = [16, 16, 32, 64]
        self.stages = nn.Sequential(
            *(
                Block(
                    widths[stage] if block == 0 else widths[stage + 1],
                    widths[stage + 1],
                    2 if stage and block == 0 else 1,
                )
                for stage in range(3)
                for block in range(blocks)
            )
        )
        self.head = nn.Linear(64, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (samples, channels, 32, 32) -> (samples, classes)
        return self.head(self.stages(self.stem(images)).mean(dim=(2, 3)))
