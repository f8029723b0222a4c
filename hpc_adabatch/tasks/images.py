"""Image files, decoded at the size that is stored.

    mode of the file                        what becomes of it
    grey, RGB, CMYK, palettes, 1 bit        RGB
    with transparency (LA, RGBA, P)         RGB as if there were none
    grey of 16 bits (I;16, I)               its 65,536 levels become 256: Pillow alone makes white of all above 255
    floating point (F), more than 16 bits   refused: nothing says which value is white

Of several pages the first is read, and a camera's note of its orientation is left aside, as torchvision does.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from ..cluster import Cluster
from ..errors import InputError

WHITE = 65_535  # of 16 bits
CHUNK = 256  # images that one thread decodes at a time
ROUND_BYTES = 2**28  # that all ranks together tell one another at a time


def decode(path: Path, size: int) -> np.ndarray:
    """Returns an image as RGB, its shorter side scaled to ``size``, its middle cut out. Shape (size, size, 3), uint8.

    Raises:
        InputError: Pillow cannot read the file as an image, or its values have no range.
    """
    try:
        with Image.open(path) as file:
            image = (_eight_bits(file, path) if file.mode[0] in "IF" else file).convert("RGB")
    except InputError:
        raise
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


def _eight_bits(file: Image.Image, path: Path) -> Image.Image:
    """Returns a grey image of 16 bits with 8."""
    levels = np.asarray(file)
    if file.mode == "F" or levels.min() < 0 or levels.max() > WHITE:
        kind = "floating point" if file.mode == "F" else "more than 16 bits"
        allowed = "8 or 16 bits a channel, whose black and white are known"
        raise InputError("task.root", f"{path} ({kind})", allowed, f"mogrify -auto-level -depth 8 {path}")
    return Image.fromarray(((levels.astype(np.int64) * 255 + WHITE // 2) // WHITE).astype(np.uint8))


class ImagePaths(Sequence[Path]):
    """Paths of images, kept as one array of bytes.

    A list of a million Python objects would be copied into every loader process that reads them, because reading an
    object writes its reference count; and it takes long to be told to other ranks.

    Args:
        paths: The paths.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self._bytes = np.array([os.fsencode(path) for path in paths])  # (images,), bytes of equal length

    def __len__(self) -> int:
        return len(self._bytes)

    def __getitem__(self, index: Any) -> Any:
        return Path(os.fsdecode(self._bytes[index]))


def decode_all(paths: Sequence[Path], size: int, threads: int, cluster: Cluster) -> torch.Tensor:
    """Returns all images, each decoded by one rank. Shape (images, 3, size, size), uint8.

    Args:
        paths: Paths of the images, the same on all ranks.
        size: Pixels a side.
        threads: The number of threads of this rank.
        cluster: The ranks, all of which call this.

    Raises:
        InputError: Pillow cannot read a file as an image; every rank raises it.
    """
    pixels = np.empty((len(paths), 3, size, size), dtype=np.uint8)
    bounds = [len(paths) * rank // cluster.size for rank in range(cluster.size + 1)]  # rank r: from bounds[r]
    mine = range(bounds[cluster.rank], bounds[cluster.rank + 1])

    def fill(chunk: range) -> None:
        for index in chunk:
            pixels[index] = decode(paths[index], size).transpose(2, 0, 1)

    with cluster.together(), ThreadPoolExecutor(threads) as pool:  # Pillow decodes outside the interpreter's lock
        list(pool.map(fill, (mine[start : start + CHUNK] for start in range(0, len(mine), CHUNK))))
    if cluster.size > 1:
        _exchange(pixels, bounds, cluster)
    return torch.from_numpy(pixels)


def _exchange(pixels: np.ndarray, bounds: Sequence[int], cluster: Cluster) -> None:
    """Fills in the images that other ranks have decoded, those of rank r from bounds[r] to bounds[r + 1].

    They travel in rounds, because a message of all images may be longer than MPI can count.
    """
    parts = [pixels[low:high] for low, high in itertools.pairwise(bounds)]
    at_once = max(1, ROUND_BYTES // (cluster.size * max(1, pixels[:1].nbytes)))  # images of each rank
    for start in range(0, max(map(len, parts)), at_once):
        rounds = cluster.gather(parts[cluster.rank][start : start + at_once])
        for part, told in zip(parts, rounds, strict=True):
            part[start : start + at_once] = told


class ImageFiles(Dataset[Any]):
    """A dataset of images that are decoded whenever they are read, for folders that do not fit into memory.

    Args:
        paths: Paths of the images.
        targets: Number of the class of each image, shape (images,).
        size: Pixels a side of the decoded images.
    """

    def __init__(self, paths: ImagePaths, targets: np.ndarray, size: int) -> None:
        self._paths, self._targets, self._size = paths, targets, size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        pixels = torch.from_numpy(decode(self._paths[index], self._size).copy())
        return pixels.permute(2, 0, 1).contiguous(), int(self._targets[index])
