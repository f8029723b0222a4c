"""Makes a folder of links to a part of CIFAR-10, for training on two cores (rules.py, reproduce/)."""

from __future__ import annotations

from pathlib import Path

IMAGES = {"train": 2000, "test": 1000}  # of each class


def few_images(source: Path, target: Path) -> None:
    """Makes the folder ``target`` with links to the first images of each class in ``source``."""
    if target.exists():
        return
    building = target.with_name(target.name + ".building")
    for part, n_images in IMAGES.items():
        for folder in sorted(path for path in (source / part).iterdir() if path.is_dir()):
            (building / part / folder.name).mkdir(parents=True, exist_ok=True)
            for image in sorted(folder.iterdir())[:n_images]:
                link = building / part / folder.name / image.name
                link.unlink(missing_ok=True)
                link.symlink_to(image.resolve())
    building.rename(target)
