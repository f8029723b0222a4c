"""Image files, decoded at the size that is stored.

    the file                                        what becomes of it
    grey, RGB, CMYK, palettes, 1 bit                RGB
    with transparency (LA, RGBA, palettes)          RGB as if there were none
    grey of 16 bits, in TIFF also of 12             its levels become 256: Pillow alone makes white of all above 255
    floating point, signed, more than 16 bits       refused: nothing says which value is white
    16 bits of which 0 is white (TIFF)              refused: Pillow reads it as black

Of several pages or frames the first is read, and a camera's note of its orientation is left aside, as torchvision does.
A JPEG that is far larger than what is stored is decoded at a half, a fourth or an eighth of its size, in half the time.
"""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile
from torch.utils.data import Dataset

from ..cluster import Cluster
from ..cluster.node_memory import NodeMemory
from ..errors import InputError
from .leave_out import advice

# Pillow's remarks on what is beside the pixels, which every loader process would print
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
COARSEST = 1.5  # times the size that is stored; below that, what JPEG's own scaling leaves sharp is seen
CHUNK = 256  # images that one thread decodes at a time
ROUND_BYTES = 2**28  # that all ranks together tell one another at a time


def decode(path: Path, size: int) -> np.ndarray:
    """Returns an image as RGB, its shorter side scaled to ``size``, its middle cut out. Shape (size, size, 3), uint8.

    Raises:
        InputError: Pillow cannot read the file as an image, or its values have no range.
    """
    try:
        with Image.open(path) as file:
            coarsest = COARSEST * size / min(file.size)
            file.draft(None, (math.ceil(file.width * coarsest), math.ceil(file.height * coarsest)))
            image = _rgb(file, path)
    except InputError:
        raise
    except Exception as error:  # Pillow names no common class for what it cannot read
        reason = f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}".removesuffix(": ")
        raise InputError("task.root", f"{path} ({reason})", "images that can be read") from error
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=_middle(*image.size, size))
    return np.asarray(image)


def _middle(width: int, height: int, size: int) -> tuple[float, float, float, float]:
    """Returns the part of an image that is the middle square, in whole pixels, once its shorter side has ``size``."""
    sides = [(side, max(size, round(side * size / min(width, height)))) for side in (width, height)]
    low = [(scaled - size) // 2 * side / scaled for side, scaled in sides]
    high = [min(side, ((scaled - size) // 2 + size) * side / scaled) for side, scaled in sides]
    return low[0], low[1], high[0], high[1]


def _rgb(file: Image.Image, path: Path) -> Image.Image:
    """Returns an image as RGB, 8 bits a channel.

    Raises:
        InputError: Nothing says which of its values are black and white.
    """
    file.info.pop("transparency", None)  # Pillow would look for a colour of the palette to stand for it
    tags = file.tag_v2 if isinstance(file, TiffImageFile) else {}
    deep = file.mode.startswith(("I", "F"))
    fault = ""
    if file.mode == "F" or tags.get(SAMPLE_FORMAT, (1,))[0] == 3:
        fault = "floating point"
    elif tags.get(SAMPLE_FORMAT, (1,))[0] == 2:
        fault = "signed"
    elif file.mode == "I" and file.format not in ("PNG", "PPM"):  # of these Pillow makes 16 bits
        fault = "more than 16 bits"
    elif deep and tags.get(PHOTOMETRIC, 1) == 0:
        fault = "16 bits of which 0 is white"
    if fault:
        allowed = "8 or 16 bits a channel, whose black and white are known"
        raise InputError("task.root", f"{path} ({fault})", allowed, f"mogrify -level BLACK,WHITE -depth 8 {path}")
    if not deep:
        file.load()
        return file if file.mode == "RGB" else file.convert("RGB")
    white = 2 ** tags.get(BITS, (16,))[0] - 1
    levels = np.asarray(file).astype(np.int64)
    return Image.fromarray(((levels * 255 + white // 2) // white).astype(np.uint8)).convert("RGB")


class ImagePaths(Sequence[Path]):
    """Paths of images, kept as one array of bytes.

    A list of a million Python objects would be copied into every loader process that reads them, because reading an
    object writes its reference count; and it takes long to be told to other ranks.

    Args:
        root: The folder that they lie in.
        names: Their paths below it.
        leave_out: The list of images that are left out; None where there is none.
    """

    def __init__(self, root: str, names: Iterable[str], leave_out: str | None = None) -> None:
        self._root, self._leave_out = Path(root), leave_out
        self._names = np.array([os.fsencode(name) for name in names])  # (images,), bytes of equal length

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: Any) -> Any:
        return self._root / self.name(index)

    def name(self, index: int) -> str:
        """Returns the path of an image below the root."""
        return os.fsdecode(self._names[index])

    def decode(self, index: int, size: int) -> np.ndarray:
        """Returns an image as ``decode`` does, which is where it says what can be done about one that fails."""
        try:
            return decode(self[index], size)
        except InputError as error:
            words = advice(self.name(index), self._leave_out)
            hint = f"{error.hint}, or {words}" if error.hint else words
            raise InputError(error.field, error.given, error.allowed, hint) from error


def decode_all(paths: ImagePaths, size: int, threads: int, cluster: Cluster) -> torch.Tensor:
    """Returns all images, each decoded by one rank. Shape (images, 3, size, size), uint8; the ranks of a node share it.

    Args:
        paths: Paths of the images, the same on all ranks.
        size: Pixels a side.
        threads: The number of threads of this rank.
        cluster: The ranks, all of which call this.

    Raises:
        InputError: Pillow cannot read a file as an image; every rank raises it.
    """
    shape = (len(paths), 3, size, size)
    memory = NodeMemory(math.prod(shape), cluster)
    pixels = memory.bytes.reshape(shape)
    bounds = [len(paths) * rank // cluster.size for rank in range(cluster.size + 1)]  # rank r: from bounds[r]
    mine = range(bounds[cluster.rank], bounds[cluster.rank + 1])

    def fill(chunk: range) -> None:
        for index in chunk:
            pixels[index] = paths.decode(index, size).transpose(2, 0, 1)

    with cluster.together(), ThreadPoolExecutor(threads) as pool:  # Pillow decodes outside the interpreter's lock
        list(pool.map(fill, (mine[start : start + CHUNK] for start in range(0, len(mine), CHUNK))))
    if len(memory.ranks) < cluster.size:
        _exchange(pixels, bounds, cluster, memory.ranks)
    return torch.from_numpy(memory.kept().reshape(shape))


def _exchange(pixels: np.ndarray, bounds: Sequence[int], cluster: Cluster, node: Sequence[int]) -> None:
    """Fills in the images that ranks of other nodes have decoded, those of rank r from bounds[r] to bounds[r + 1].

    They travel in rounds, because a message of all images may be longer than MPI can count. Of those that have one
    copy in common, ``node``, one rank writes what comes from another.
    """
    parts = [pixels[low:high] for low, high in itertools.pairwise(bounds)]
    turns = itertools.cycle(node)
    written = [rank for rank in range(cluster.size) if rank not in node and next(turns) == cluster.rank]
    at_once = max(1, ROUND_BYTES // (cluster.size * max(1, pixels[:1].nbytes)))  # images of each rank
    for start in range(0, max(map(len, parts)), at_once):
        told = cluster.gather(parts[cluster.rank][start : start + at_once])
        for rank in written:
            parts[rank][start : start + at_once] = told[rank]


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
        pixels = torch.from_numpy(self._paths.decode(index, self._size).copy())
        return pixels.permute(2, 0, 1).contiguous(), int(self._targets[index])
