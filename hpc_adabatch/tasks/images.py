"""Image files decoded once, at the size the network wants.

Not here: which files (image_folder.py), random crops (augment.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from ..errors import InputError


def decode(path: Path, size: int) -> torch.Tensor:
    """One image as RGB, its shorter side scaled to ``size`` and its middle cut out. Shape (3, size, size), uint8.

    Raises:
        InputError: the file is no image that Pillow can read.
    """
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError("task.root", f"{path} ({type(error).__name__})", "images that can be read", f"rm {path}") from error
    if image.size != (size, size):
        scale = size / min(image.size)
        wide = [max(size, round(side * scale)) for side in image.size]
        left, top = (wide[0] - size) // 2, (wide[1] - size) // 2
        image = image.resize((wide[0], wide[1]), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def decode_all(paths: Sequence[Path], size: int, threads: int) -> torch.Tensor:
    """All images. Shape (images, 3, size, size), uint8."""
    images = torch.empty((len(paths), 3, size, size), dtype=torch.uint8)

    def fill(index: int) -> None:
        images[index] = decode(paths[index], size)

    with ThreadPoolExecutor(threads) as pool:  # Pillow decodes outside the interpreter's lock
        for _ in pool.map(fill, range(len(paths)), chunksize=64):
            pass
    return images


class ImageFiles(Dataset[Any]):
    """Images decoded whenever they are read, for folders that do not fit into memory."""

    def __init__(self, paths: Sequence[Path], targets: Sequence[int], size: int) -> None:
        self._paths, self._targets, self._size = paths, targets, size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return decode(self._paths[index], self._size), self._targets[index]
