"""Images that a run leaves out: a text file that names them, a line each, by their paths below ``task.root``.

    train/cat/17.jpg      its place in an epoch's order is taken by another image of that folder
    val/dog/3.jpg         it is not tested on

All other images keep their places, so that a checkpoint goes on, whether the files that are left out are still there or
not. While the list stays the same, so do those that stand in: an epoch has each of them twice, more often only where
more than half of a class is left out, and each other image once.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError, reading, require

FILE = "leave-out.txt"
PARTS = ("train", "val", "test")
ALLOWED = "a text file with a path below task.root in each line, such as train/CLASS/FILE"


def read(file: str, root: str) -> set[str]:
    """Returns the paths below the root that a list names.

    Raises:
        InputError: The list cannot be read, or one of its lines is no such path.
    """
    with reading("task.leave_out", file, ALLOWED, f"--task.leave_out {FILE}"):
        lines = Path(file).read_bytes().splitlines()
    names = {os.fsdecode(line).removeprefix(f"{Path(root)}/") for line in lines if line.strip()}
    for name in sorted(names):
        if not (name.split("/")[0] in PARTS and len(name.split("/")) >= 3):
            raise InputError("task.leave_out", f"{file}: {name}", ALLOWED)
    return names


def content(names: Iterable[str]) -> bytes:
    """Returns the content of a list of these paths."""
    return b"".join(os.fsencode(name) + b"\n" for name in sorted(names))


def advice(name: str, file: str | None) -> str:
    """Returns what to type so that an image is left out.

    Args:
        name: Its path below the root.
        file: The list that there is already; None where there is none.
    """
    file = shlex.quote(file or FILE)
    return (
        f"echo {shlex.quote(name)} >> {file}, then --task.leave_out {file}; adabatch check-data finds all such images"
    )


def applied(left_out: set[str], names: Sequence[str], *, trains: bool) -> list[str]:
    """Returns the images of one part of a folder, with others in the places of those left out, or without them.

    Args:
        left_out: The paths of the images to leave out, which need not be there.
        names: The paths of the images that are there.
        trains: True for the images to train on, whose places are kept.

    Raises:
        InputError: A class has nothing left to train on, or nothing at all is left to test.
    """
    everyone = sorted(left_out.union(names), key=_place)
    out = np.array([name in left_out for name in everyone])
    if not trains:
        require(not out.all(), "task.leave_out", "all images to test", "one left at least")
        return [everyone[number] for number in np.flatnonzero(~out)]
    folders = np.array([name.split("/")[1] for name in everyone])
    numbers = np.arange(len(everyone))
    for folder in np.unique(folders[out]):
        of_class = np.flatnonzero(folders == folder)
        gone, kept = out[of_class], of_class[~out[of_class]]
        require(len(kept) > 0, "task.leave_out", f"all training images of {folder}", "one left of each class at least")
        numbers[of_class[gone]] = kept[np.arange(gone.sum()) % len(kept)]
    return [everyone[number] for number in numbers]


def _place(name: str) -> tuple[str, str, str]:
    """Returns by what torchvision's ImageFolder orders its files: class, then folder, then name."""
    return (name.split("/")[1], *os.path.split(name))
