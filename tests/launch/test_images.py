"""Real CIFAR-10 images through the whole program: in memory and by loader workers, with any number of ranks."""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytestmark = pytest.mark.launch
ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10-imagefolder.tar.xz"
RECIPE = "recipes/cifar10-resnet20-adabatch.yaml"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 40 training and 10 test images of each class."""
    if not ARCHIVE.exists():
        pytest.skip(f"the real images are missing: {ARCHIVE}")
    root = tmp_path_factory.mktemp("cifar")
    counts: dict[str, int] = {}
    with tarfile.open(ARCHIVE, "r|xz") as archive:
        for member in archive:
            parts = Path(member.name).parts[-3:]
            if not member.isfile() or len(parts) != 3:
                continue
            key = "/".join(parts[:2])
            counts[key] = counts.get(key, 0) + 1
            file = archive.extractfile(member)
            if file is not None and counts[key] <= (40 if parts[0] == "train" else 10):
                (root / key).mkdir(parents=True, exist_ok=True)
                with (root / key / parts[2]).open("wb") as copy:
                    shutil.copyfileobj(file, copy)
    return root


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint" / "last.pt", weights_only=True)["training"]["model"]


def test_workers_read_the_same_batches_as_memory_while_the_batch_changes(
    adabatch: Any, images: Path, tmp_path: Path
) -> None:
    """Augmentation included: draws belong to samples. A small network without BatchNorm."""
    common = [
        "train",
        RECIPE,
        "--task.root",
        images,
        "--epochs=2",
        "--model=small_cnn",
        "--precision=float32",
        "--optimizer.lr=0.01",
    ]
    common += ["--global_batch=24", "--max_micro_batch=16", "--policy=schedule", "--policy.text=0:24 100sa:56 430sa:33"]
    for name, how in {
        "memory": {"ranks": 1, "launcher": "plain"},
        "workers": {"ranks": 2},
        "gloo": {"ranks": 3, "launcher": "horovodrun --gloo"},
    }.items():
        read = [] if name == "memory" else ["--task.memory_gb=0", "--workers=2"]
        adabatch(*common, *read, "--out", tmp_path / name, **how)
    for name in ("workers", "gloo"):
        for key, expected in weights(tmp_path / "memory").items():
            torch.testing.assert_close(weights(tmp_path / name)[key], expected, rtol=1e-3, atol=1e-5)


def test_the_cifar_recipe_with_bfloat16_and_channels_last(adabatch: Any, images: Path, tmp_path: Path) -> None:
    flags = [
        "--task.root",
        images,
        "--epochs=2",
        "--global_batch=50",
        "--policy.interval=1",
        "--optimizer=lars",
        "--optimizer.lr=4",
    ]
    adabatch("train", RECIPE, *flags, "--out", tmp_path / "run", ranks=2)
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["batches"] == [[0.0, 50], [1.0, 100]]
    for tensor in weights(tmp_path / "run").values():
        assert tensor.is_contiguous()
        assert tensor.dtype in (torch.float32, torch.int64)


def small_folder(root: Path) -> None:
    """15 images to train on and 6 to test, of 8x8 pixels, in 3 classes."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 5), ("val", 2)):
        for name in ("0", "1", "2"):
            (root / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{index}.png")


def test_a_broken_image_is_one_line_of_all_ranks_and_is_found_before(adabatch: Any, tmp_path: Path) -> None:
    """Bug story: a traceback of torch, with another of the loader's process in it."""
    small_folder(tmp_path / "images")
    broken, list_of_them = tmp_path / "images" / "train" / "1" / "3.png", tmp_path / "list"
    broken.write_bytes(broken.read_bytes()[:-30])
    flags = [RECIPE, "--task.root", tmp_path / "images", "--workers=1"]
    small = ["--task.memory_gb=0", "--model=small_cnn", "--precision=float32", "--global_batch=6", "--policy=fixed"]
    done = adabatch("train", *flags, *small, "--out", tmp_path / "run", ranks=2, code=2)
    (line,) = re.findall(r"adabatch: error: .*", done.stdout + done.stderr)
    assert f"task.root: given {broken} (OSError: " in line
    assert "; type echo train/1/3.png >> leave-out.txt, then --task.leave_out leave-out.txt" in line
    assert "Traceback" not in done.stdout + done.stderr
    done = adabatch("check-data", *flags, "--out", list_of_them, ranks=2, launcher="torchrun", code=1)  # torchrun's
    assert f"1 of 21 images cannot be read; to leave them out: --task.leave_out {list_of_them}" in done.stdout
    assert list_of_them.read_text(encoding="utf-8") == "train/1/3.png\n"


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun --gloo"])
def test_one_rank_lists_and_each_image_is_opened_once(
    launch: Any, programs: Path, tmp_path: Path, launcher: str
) -> None:
    """Every rank listed the whole folder, and opened all images that it kept in memory."""
    small_folder(tmp_path)
    done = launch(programs / "open_once.py", tmp_path, ranks=3, launcher=launcher)
    assert done.stdout.count("refused by all") == 3


@pytest.mark.parametrize("launcher", ["mpirun", "torchrun", "horovodrun --gloo"])
def test_the_ranks_of_a_node_have_one_copy_of_the_pixels(
    launch: Any, programs: Path, tmp_path: Path, launcher: str
) -> None:
    """Each rank kept a copy, and told the others every image."""
    small_folder(tmp_path)
    done = launch(programs / "node_memory.py", tmp_path, "one copy", ranks=4, launcher=launcher)
    assert done.stdout.count("one picture") == 4


@pytest.mark.parametrize("way", ["no room", "full", "two nodes"])
def test_ranks_without_room_or_on_two_nodes_have_the_same_pixels(
    launch: Any, programs: Path, tmp_path: Path, way: str
) -> None:
    if way != "no room" and os.geteuid() != 0:
        pytest.skip("it takes root to give a process another /dev/shm or host name")
    small_folder(tmp_path)
    done = launch(programs / "node_memory.py", tmp_path, way, ranks=3, launcher="torchrun")
    assert done.stdout.count("one picture") == 3


def test_the_ranks_of_a_node_have_one_copy_of_cifar_and_refuse_it_together(
    launch: Any, adabatch: Any, programs: Path, tmp_path: Path
) -> None:
    """Each rank read it for itself."""
    done = launch(programs / "node_memory.py", tmp_path, "cifar", ranks=3)
    assert done.stdout.count("one picture") == 3
    (tmp_path / "cifar-10-batches-py" / "test_batch").unlink()
    flags = ["--task=cifar10", f"--task.root={tmp_path}", "--out", tmp_path / "run"]
    done = adabatch("train", "recipes/quickstart.yaml", *flags, code=2)
    (line,) = re.findall(r"adabatch: error: .*", done.stdout + done.stderr)
    assert f"task.root: given {tmp_path} (Dataset not found or corrupted." in line


def test_a_rank_that_is_killed_while_it_decodes_leaves_no_memory_behind(
    launch: Any, programs: Path, tmp_path: Path
) -> None:
    small_folder(tmp_path)
    done = launch(programs / "node_memory.py", tmp_path, "lost", code=None, fresh=True)
    assert done.returncode != 0
    device, inode = re.findall(r"FILE (\S+) (\d+)", done.stdout)[0]
    deadline_s = time.monotonic() + 60
    while holders := [pid for pid in Path("/proc").glob("[0-9]*") if maps(pid, device, inode)]:
        assert time.monotonic() < deadline_s, holders
        time.sleep(0.1)


def maps(process: Path, device: str, inode: str) -> bool:
    """Whether a process has a file in its memory."""
    try:
        lines = (process / "maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # it has ended
        return False
    return any(line.split()[3:5] == [device, inode] for line in lines)
