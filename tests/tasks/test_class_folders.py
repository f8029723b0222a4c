"""Class folders, beside torchvision's ImageFolder."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest

from hpc_adabatch import InputError
from hpc_adabatch.tasks import ImageFolder
from hpc_adabatch.tasks.class_folders import ENDINGS, find
from hpc_adabatch.tasks.vision import datasets


def odd_folders(root: Path, draw: random.Random) -> Path:
    """Writes class folders with folders within, links, endings of any letters, and files of other kinds."""
    for name in draw.sample(["b", "a", "a b", "a-b", "Z", "é", "10", "9", ".hidden", "a.png"], 6):
        folder = root / name
        for inner in draw.sample([".", "x", "x/y", "x y", "X", "x-y", ".z"], 3):
            (folder / inner).mkdir(parents=True, exist_ok=True)
            for file in draw.sample(["1.png", "10.PNG", "2.Jpg", "a.tiff", "b.gif", ".c.webp", "d.jpeg.txt", ".e"], 4):
                (folder / inner / file).write_bytes(b"")
        (folder / "always.bmp").write_bytes(b"")
    (root / "no folder.png").write_bytes(b"")
    return root


def test_they_are_those_of_torchvision_in_its_order(tmp_path: Path) -> None:
    assert ENDINGS == datasets.folder.IMG_EXTENSIONS
    for seed in range(40):
        root = odd_folders(tmp_path / str(seed), random.Random(seed))
        elsewhere = odd_folders(tmp_path / f"elsewhere {seed}", random.Random(-seed))
        (root / "linked").symlink_to(elsewhere)
        (next(root.iterdir()) / "link.png").symlink_to(root / "no folder.png")
        ours, theirs = find(root), datasets.ImageFolder(str(root))
        assert ours.classes == theirs.classes
        assert list(zip(ours.paths, ours.targets, strict=True)) == theirs.samples
        files = [Path(top, file) for name in ours.classes for top, _, files in os.walk(root / name) for file in files]
        followed = [path for path in files if "linked" not in path.parts]
        shown = {path for path in followed if path.suffix in (".gif", ".txt") and not path.name.startswith(".")}
        assert {Path(path) for path in ours.passed_over if "/linked/" not in path} == shown


def test_a_folder_without_classes_and_classes_without_images_are_named(tmp_path: Path) -> None:
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
    with pytest.raises(
        InputError, match=rf"given {tmp_path}/train \(no class folder\); allowed: class folders with im"
    ):
        ImageFolder(root=str(tmp_path)).load()
    for number in range(5):
        (tmp_path / "train" / f"c{number}").mkdir()
    (tmp_path / "train" / "c1" / "0.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"/train \(no image in c0, c2, c3, \.\.\.\); allowed: .*\.jpg, .*\.webp"):
        ImageFolder(root=str(tmp_path)).load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """torchvision goes on without its images, and does not say so."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(odd_folders(tmp_path / "train", random.Random(0)), root / "train")
        shutil.copytree(root / "train", root / "val")
        root.chmod(0o755)
        closed = next((root / "train").glob("*/always.bmp")).parent / "closed"
        closed.mkdir(mode=0o700)
        os.seteuid(65534)
        try:
            assert len(datasets.ImageFolder(str(root / "train"))) > 0
            with pytest.raises(InputError, match=rf"Permission denied: '{closed}'\); allowed: class folders"):
                ImageFolder(root=str(root)).load()
        finally:
            os.seteuid(0)
