"""ImageNet's task on a small folder of images made here: any size, mode and file type that ImageNet has, and a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from hpc_adabatch.batches.keys import sample_keys
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.tasks import ImageNet
from hpc_adabatch.tasks.images import ImageFiles, decode
from hpc_adabatch.tasks.vision import torchvision

pytestmark = pytest.mark.long

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "imagenet-resnet50-adabatch.yaml")
SIZES = [(50, 37), (41, 64), (33, 33), (97, 40), (40, 120)]  # width, height
MODES = [("RGB", "jpg"), ("L", "png"), ("RGBA", "png"), ("CMYK", "jpg"), ("P", "png"), ("L", "jpg")]
SMALL: dict[str, Any] = {"image_size": 24, "stored_size": 28, "test_size": 28}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits 0, 1 and 4 in every size, mode and type: 20 to train on, 8 to test on each."""
    folder, digits, made = tmp_path_factory.mktemp("imagenet"), load_digits(), 0
    for name in (0, 1, 4):
        images = digits.images[digits.target == name]
        for part, chosen in (("train", images[:20]), ("val", images[20:28])):
            (folder / part / f"n{name:08d}").mkdir(parents=True)
            for index, pixels in enumerate(chosen):
                mode, kind = MODES[made % len(MODES)]
                picture = Image.fromarray((pixels * 15).astype(np.uint8)).resize(SIZES[made % len(SIZES)])
                picture.convert("RGB").convert(mode).save(folder / part / f"n{name:08d}" / f"{index}.{kind}")
                made += 1
    return folder


def test_images_of_any_size_and_mode_are_stored_as_squares(root: Path) -> None:
    data = ImageNet(root=str(root), **SMALL).load()
    images, targets = data.train.tensors  # type: ignore[attr-defined]
    assert images.shape == (60, 3, 28, 28)
    assert images.dtype == torch.uint8
    assert targets.tolist() == [0] * 20 + [1] * 20 + [2] * 20
    assert images.flatten(1).float().std(1).min() > 20  # something is on each of them
    tested = data.prepare(data.test.tensors[0])  # type: ignore[attr-defined]
    trained = data.augment(images, sample_keys(0, 0, torch.arange(60)))
    assert data.sample_shape == tested.shape[1:] == trained.shape[1:] == (3, 24, 24)
    assert data.n_classes == 3


def test_a_colour_survives_every_mode(tmp_path: Path) -> None:
    for mode, kind in MODES:
        colour = Image.new("RGB", (40, 30), (200, 40, 90)).convert(mode)
        colour.save(tmp_path / f"{mode}.{kind}")
        pixels = decode(tmp_path / f"{mode}.{kind}", 16)
        expected = [93] * 3 if mode == "L" else [200, 40, 90]  # 0.299 r + 0.587 g + 0.114 b
        tolerance = 30 if mode == "P" else 4  # a palette of the web, JPEG
        assert np.abs(pixels.reshape(-1, 3).astype(int) - expected).max() <= tolerance, mode


def test_transparency_is_dropped_and_the_colour_stays(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (10, 120, 230, 0)).save(tmp_path / "glass.png")
    assert decode(tmp_path / "glass.png", 8).reshape(-1, 3).tolist() == [[10, 120, 230]] * 64


@pytest.mark.parametrize("size", [(72, 36), (36, 108), (360, 360)])
def test_test_images_are_prepared_like_torchvisions_reference(size: tuple[int, int], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    for part in ("train", "test"):
        (tmp_path / part / "only").mkdir(parents=True)
        Image.fromarray(noise).resize(size).save(tmp_path / part / "only" / "a.png")
    task = ImageNet(root=str(tmp_path), image_size=24, stored_size=40, test_size=36)
    data = task.load()
    steps = torchvision.transforms
    reference = steps.Compose(
        [steps.Resize(36), steps.CenterCrop(24), steps.ToTensor(), steps.Normalize(task.mean, task.std)]
    )
    with Image.open(tmp_path / "test" / "only" / "a.png") as image:
        expected = reference(image)
    torch.testing.assert_close(data.prepare(data.test.tensors[0])[0], expected, rtol=0, atol=1e-5)  # type: ignore[attr-defined]


def test_a_folder_larger_than_memory_is_decoded_at_each_reading(root: Path) -> None:
    memory, files = (ImageNet(root=str(root), memory_gb=gb, **SMALL).load() for gb in (1.0, 0.0))
    assert isinstance(files.train, ImageFiles)
    images, targets = memory.train.tensors  # type: ignore[attr-defined]
    for index in range(len(files.train)):
        image, target = files.train[index]
        assert torch.equal(image, images[index])
        assert target == targets[index]


def test_without_augmentation_training_images_are_cut_like_test_images(root: Path) -> None:
    data = ImageNet(root=str(root), augment=False, **SMALL).load()
    images = data.train.tensors[0]  # type: ignore[attr-defined]
    assert torch.equal(data.augment(images, sample_keys(0, 0, torch.arange(60))), data.prepare(images))


def trained(folder: Path, root: Path, *flags: str) -> RecipeRun:
    """The recipe in one process, with a network and images for one core."""
    small = ["--model=narrow_cnn", "--precision=float32", "--channels_last=false", "--workers=0", f"--task.root={root}"]
    small += [f"--task.{name}={value}" for name, value in SMALL.items()]
    small += ["--global_batch=6", "--max_global_batch=24", "--policy.interval=4", "--policy.baseline_batch=3"]
    small += ["--policy.warmup_epochs=3", "--optimizer.lr=0.005", "--epochs=12"]
    recipe, _, resolved = parse_recipe("train", [RECIPE, *small, *flags])
    run = RecipeRun(recipe, resolved, folder, resume=False, cluster=SingleProcess())
    assert run.train() == 0
    return run


def test_the_recipe_trains_on_the_folder(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The batch doubles twice, and the mirrored, cropped digits are learnt."""
    run = trained(tmp_path / "run", root, "--task.least_area=0.5")
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["batches"] == [[0.0, 6], [4.0, 12], [8.0, 24]]
    assert run.life.metric is not None
    assert run.life.metric > 0.75  # 1/3 by chance
    assert "accuracy" in capsys.readouterr().out


def difference(one: RecipeRun, other: RecipeRun) -> float:
    """Largest, of all weights."""
    pairs = zip(one.training.model.parameters(), other.training.model.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def test_workers_and_micro_batches_change_nothing(root: Path, tmp_path: Path) -> None:
    """Random crops included: draws belong to samples. A network without BatchNorm; rounding is what is left."""
    few = ["--epochs=3", "--policy.interval=1", "--policy.warmup_epochs=0", "--policy.baseline_batch=null"]
    memory = trained(tmp_path / "memory", root, *few)
    files = trained(tmp_path / "files", root, *few, "--task.memory_gb=0", "--workers=2", "--max_micro_batch=5")
    uncropped = trained(tmp_path / "uncropped", root, *few, "--task.augment=false")
    assert isinstance(memory.data.train, TensorDataset)
    assert isinstance(files.data.train, ImageFiles)
    assert memory.training.steps == files.training.steps == 17  # 10, 5 and 2
    assert difference(memory, files) < 1e-4
    assert difference(memory, uncropped) > 1e-2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 0),
        ("stored_size", 223),
        ("test_size", 100),
        ("least_area", 0.0),
        ("least_area", 1.01),
        ("std", (1.0, 1.0)),
        ("label_smoothing", -0.1),
    ],
)
def test_fields_out_of_range_are_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^task\.{field}: given"):
        ImageNet(**{field: value})


def test_validation_images_without_class_folders_are_refused(tmp_path: Path) -> None:
    """As the archive of ILSVRC 2012 unpacks."""
    (tmp_path / "train" / "n1").mkdir(parents=True)
    (tmp_path / "val").mkdir()
    for place in ("train/n1", "val"):
        Image.new("RGB", (30, 30)).save(tmp_path / place / "a.png")
    with pytest.raises(InputError, match=r"^task\.root: .*val .*; allowed: class folders with images in each"):
        ImageNet(root=str(tmp_path)).load()
