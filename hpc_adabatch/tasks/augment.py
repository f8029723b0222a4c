"""Normalisation, random crops and flips of images, on whole micro-batches.

Each is a few operations for a whole micro-batch on the device, not Python code for each image. The draws belong to the
samples (batches/keys.py), so they are the same for any number of ranks and any micro-batch.

    transform           random crop                                                      usual for
    CropAndFlip         as large as the image, out of the image with a border            CIFAR
    RandomResizedCrop   8 % to 100 % of the image, any place, scaled to a fixed size     ImageNet
    CentreCut           none: the middle, for test images                                ImageNet
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import grid_sample, pad

from ..batches.keys import uniform

TRIES = 10  # crops drawn before the whole image is taken; all ten miss for 3 images in a billion
MIRROR, LEFT, TOP, AREA, ASPECT = 3, 4, 5, 6, 7  # streams of draws; 1 and 2 are the shifts of CropAndFlip


@dataclass(frozen=True)
class Prepare:
    """A function from stored images, uint8 or float, to normalised float32 images.

    Args:
        mean: Mean of each channel, on the scale 0 to 1 for uint8 images, as stored for floats.
        std: Standard deviation of each channel, on the same scale.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:  # (samples, channels, height, width), both
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1) * scale
        std = torch.tensor(self.std, device=images.device).view(-1, 1, 1) * scale
        return images.to(torch.float32, copy=True).sub_(mean).div_(std)


class AsStored(Prepare):
    """A function that leaves features or ids as they are stored."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images


@dataclass(frozen=True)
class CropAndFlip:
    """A function that pads images, crops them back at a random place, mirrors half of them and prepares them.

    Args:
        prepare: The function that normalises the images.
        padding: Pixels added on each side before the crop.
        flip: Mirrors half of the images.
    """

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
            mirrored = uniform(keys, MIRROR, 2).bool()
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        padded = pad(images, (self.padding,) * 4)
        stride = width + 2 * self.padding
        places = (rows[:, :, None] * stride + columns[:, None, :]).view(samples, 1, -1)  # (samples, 1, height * width)
        pixels = padded.view(samples, channels, -1).gather(2, places.expand(-1, channels, -1))
        return self.prepare(pixels.view(samples, channels, height, width))


@dataclass(frozen=True)
class RandomResizedCrop:
    """A function that cuts a random part out of square images, scales it to a fixed size and mirrors half of them.

    Szegedy et al. 2015, https://arxiv.org/abs/1409.4842, section 6: the part's area is uniform between ``least_area``
    and 1, its aspect ratio between 3/4 and 4/3. As in torchvision, the logarithm of the ratio is uniform, a crop that
    would not fit is drawn again, and its place is uniform. Unlike in torchvision, sides and place are real numbers, not
    whole pixels, and the scaled pixels are not rounded to integers.

    Scaling is bilinear without antialiasing: each pixel of the result is computed from the four stored pixels around
    its centre. For crops that are enlarged, antialiasing gives the same. A crop is shrunk by a factor of at most
    stored / ``size``, which is 256 / 224 = 1.14 with the defaults of the imagenet task.

    Args:
        prepare: The function that normalises the images, before they are cut.
        size: Pixels a side of the result.
        least_area: Smallest area of a crop, as a part of the image's area; above 0, at most 1.
    """

    prepare: Prepare
    size: int
    least_area: float = 0.08

    def __call__(self, images: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:  # -> (samples, channels, size, size)
        left, top, width, height = self.boxes(keys).unbind(1)  # each (samples,)
        centres = (torch.arange(self.size, device=keys.device, dtype=torch.float64) + 0.5) / self.size  # (size,)
        columns = torch.where(uniform(keys, MIRROR, 2).bool()[:, None], centres.flip(0), centres)  # (samples, size)
        x = (2 * (left[:, None] + width[:, None] * columns) - 1).float()  # (samples, size), -1 to 1 over the image
        y = (2 * (top[:, None] + height[:, None] * centres) - 1).float()
        shape = (len(keys), self.size, self.size)
        places = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=3)
        return grid_sample(self.prepare(images), places, mode="bilinear", padding_mode="border", align_corners=False)

    def boxes(self, keys: torch.Tensor) -> torch.Tensor:
        """Returns the crops: left, top, width and height as parts of the side. Shape (samples, 4), float64."""
        tries = keys[:, None] + torch.arange(TRIES + 1, device=keys.device)  # (samples, tries)
        area = self.least_area + (1 - self.least_area) * fraction(tries, AREA)
        aspect = torch.exp(math.log(4 / 3) * (2 * fraction(tries, ASPECT) - 1))
        sides = torch.stack([area * aspect, area / aspect]).sqrt()  # (2, samples, tries)
        sides[:, :, TRIES] = 1  # the whole image fits always
        first = (sides.amax(0) <= 1).int().argmax(1)  # (samples,), the first that fits
        width, height = sides.gather(2, first.expand(2, -1)[:, :, None])[:, :, 0]
        return torch.stack([(1 - width) * fraction(keys, LEFT), (1 - height) * fraction(keys, TOP), width, height], 1)


def fraction(keys: torch.Tensor, stream: int) -> torch.Tensor:
    """Returns one random number between 0 and 1 for each key, float64, one of 2^31 evenly spaced numbers."""
    return (uniform(keys, stream, 2**31).double() + 0.5) / 2**31


@dataclass(frozen=True)
class CentreCut(Prepare):
    """A function that cuts the middle out of images and prepares it.

    Args:
        mean: Mean of each channel, on the scale 0 to 1 for uint8 images, as stored for floats.
        std: Standard deviation of each channel, on the same scale.
        size: Pixels a side of the result.
    """

    size: int

    def __call__(self, images: torch.Tensor) -> torch.Tensor:  # -> (samples, channels, size, size)
        top, left = ((side - self.size) // 2 for side in images.shape[2:])
        return super().__call__(images[:, :, top : top + self.size, left : left + self.size])


@dataclass(frozen=True)
class NoAugmentation:
    """A function that prepares training images like test images, without randomness.

    Args:
        prepare: The function that prepares the images.
    """

    prepare: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, images: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return self.prepare(images)
