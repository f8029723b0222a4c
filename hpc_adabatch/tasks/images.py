"""Image files, decoded at the size that is stored."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from ..errors import InputError

CHUNK = 256  # images that one thread decodes at a time


def decode(path: Path, size: int) -> np.ndarray:
    """Returns an image as RGB, its shorter side scaled to ``size``, its middle cut out. Shape (size, size, 3), uint8.

    Raises:
        InputError: Pillow cannot read the file as an image.
    """
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        given = f"{path} ({type(error).__name__})"
        raise InputError("task.root", given, "images that can be read", f"rm {path}") from error
    if image.size != (size, size):
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        left, top = (width - size) // 2, (height - size) // 2
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        image = resized.crop((left, top, left + size, top + size))
    return np.asarray(image)


def decode_all(paths: Sequence[Path], size: int, threads: int) -> torch.Tensor:
    """Returns all images, decoded by this number of threads. Shape (images, 3, size, size), uint8."""
    pixels = np.empty((len(paths), size, size, 3), dtype=np.uint8)

    def fill(start: int) -> None:
        for index in range(start, min(start + CHUNK, len(paths))):
            pixels[index] = decode(paths[index], size)

    with ThreadPoolExecutor(threads) as pool:  # Pillow decodes outside the interpreter's lock
        list(pool.map(fill, range(0, len(paths), CHUNK)))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


class ImageFiles(Dataset[Any]):
    """A dataset of images that are decoded whenever they are read, for folders that do not fit into memory.

    Paths and targets are kept as two arrays: a list of a million Python objects would be copied into every loader
    process that reads them, because reading an object writes its reference count.

    Args:
        paths: Paths of the images.
        targets: Number of the class of each image.
        size: Pixels a side of the decoded images.
    """

    def __init__(self, paths: Sequence[Path], targets: Sequence[int], size: int) -> None:
        self._paths = np.array([os.fsencode(path) for path in paths])  # (images,), bytes of equal length
        self._targets = np.array(targets, dtype=np.int64)  # (images,)
        self._size = size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        pixels = torch.from_numpy(decode(Path(os.fsdecode(self._paths[index])), self._size).copy())
        return pixels.permute(2, 0, 1).contiguous(), int(self._targets[index])
