"""Lists the images of class folders: those that torchvision's ImageFolder finds, in the same order.

torchvision is not asked, because it loads torch's compiler, for which all ranks would wait before their first step. It
also passes over folders that cannot be read, and over files with other endings, without a word.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class ClassFolders:
    """The files in the class folders of one folder."""

    classes: list[str]
    """Names of the classes, in the order of their numbers."""
    paths: list[str]
    """Paths of the images, those of a class together."""
    targets: list[int]
    """Number of the class of each image."""
    passed_over: list[str]
    """Paths of the files whose names are not those of images; hidden ones are not among them."""


def is_image(path: str) -> bool:
    """Returns whether a file of this name is read."""
    return path.lower().endswith(ENDINGS)


def find(folder: Path) -> ClassFolders:
    """Lists the images in each class folder and in the folders within, whose links are followed.

    Args:
        folder: Folder that holds the class folders.

    Raises:
        FileNotFoundError: There is no class folder, or one without an image.
        OSError: A folder cannot be read.
    """
    with os.scandir(folder) as entries:
        found = ClassFolders(sorted(entry.name for entry in entries if entry.is_dir()), [], [], [])
    if not found.classes:
        raise FileNotFoundError("no class folder")
    empty = []
    for number, name in enumerate(found.classes):
        images = []
        for inner, _, files in sorted(os.walk(folder / name, onerror=_refuse, followlinks=True)):
            for file in sorted(files):
                if is_image(file):
                    images.append(f"{inner}/{file}")
                elif not file.startswith("."):
                    found.passed_over.append(f"{inner}/{file}")
        found.paths.extend(images)
        found.targets.extend([number] * len(images))
        if not images:
            empty.append(name)
    if empty:
        raise FileNotFoundError(f"no image in {', '.join(empty[:3])}{', ...' if len(empty) > 3 else ''}")
    return found


def _refuse(error: OSError) -> None:
    raise error
