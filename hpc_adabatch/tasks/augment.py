"""Normalisation, random crops and flips of images, on whole micro-batches.

One indexing operation a micro-batch on the device, instead of Python code an image. The draws belong to the samples
(batches/keys.py), so they are the same for any number of ranks and any micro-batch.

Not here: reading images (images.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from ..batches.keys import uniform


@dataclass(frozen=True)
class Prepare:
    """Stored images, uint8 or float, to normalised float32.

    Args:
        mean, std: per channel, on the scale 0 to 1 of uint8 images or as stored for floats.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:  # (samples, channels, height, width), both
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1) * scale
        std = torch.tensor(self.std, device=images.device).view(-1, 1, 1) * scale
        return images.to(torch.float32, copy=True).sub_(mean).div_(std)


@dataclass(frozen=True)
class CropAndFlip:
    """Pads by ``padding``, crops back at a random place, mirrors half of the images, then prepares them."""

    prepare: Prepare
    padding: int
    flip: bool

    def __call__(self, images: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:  # keys: (samples,)
        samples, channels, height, width = images.shape
        if self.padding:
            shift_y = uniform(keys, 1, 2 * self.padding + 1)
            shift_x = uniform(keys, 2, 2 * self.padding + 1)
            rows = shift_y[:, None] + torch.arange(height, device=images.device)  # (samples, height)
            columns = shift_x[:, None] + torch.arange(width, device=images.device)  # (samples, width)
        else:
            rows = torch.arange(height, device=images.device).expand(samples, -1)
            columns = torch.arange(width, device=images.device).expand(samples, -1)
        if self.flip:
            mirrored = uniform(keys, 3, 2).bool()
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        padded = pad(images, (self.padding,) * 4)
        stride = width + 2 * self.padding
        places = (rows[:, :, None] * stride + columns[:, None, :]).view(samples, 1, -1)  # (samples, 1, height * width)
        pixels = padded.view(samples, channels, -1).gather(2, places.expand(-1, channels, -1))
        return self.prepare(pixels.view(samples, channels, height, width))


@dataclass(frozen=True)
class NoAugmentation:
    """Training images prepared like test images."""

    prepare: Prepare

    def __call__(self, images: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return self.prepare(images)
