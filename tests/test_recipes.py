"""Recipes do what their comments say: batches, learning rates, updates. That they parse: test_project.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.recipe import Recipe
from hpc_adabatch.run.forecast import Phase, phases
from hpc_adabatch.tasks.augment import NoAugmentation, Prepare
from hpc_adabatch.tasks.task import TaskData

pytestmark = pytest.mark.long

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
IMAGENET, CIFAR = 1_281_167, 50_000  # images to train on
VISION = sorted(path.stem for kind in ("imagenet", "cifar10") for path in RECIPES.glob(f"{kind}-*.yaml"))


def read(name: str, *flags: str) -> Recipe:
    return parse_recipe("train", [str(RECIPES / f"{name}.yaml"), *flags])[0]


def data_of(n_samples: int, side: int) -> TaskData:
    """A training set of this length, whose images nobody looks at."""
    prepare, nothing = Prepare((0.5,), (0.5,)), TensorDataset(torch.zeros(n_samples, 0))
    return TaskData(
        train=nothing,
        test=nothing,
        augment=NoAugmentation(prepare),
        prepare=prepare,
        sample_shape=(3, side, side),
        n_classes=1000,
    )


def plan(recipe: Recipe, n_samples: int, n_ranks: int = 1) -> list[Phase]:
    return list(phases(recipe, data_of(n_samples, 1), n_ranks))


def rate(recipe: Recipe, epoch: float) -> float:
    """Learning rate of a fixed batch at this epoch of ImageNet."""
    batch = recipe.global_batch
    return recipe.optimizer.lr * recipe.schedule.multiplier(epoch * IMAGENET, IMAGENET, batch, batch)


@pytest.mark.parametrize("name", VISION)
def test_the_network_takes_the_images(name: str) -> None:
    recipe = read(name)
    side = 224 if name.startswith("imagenet") else 32
    data = data_of(1, side)
    with torch.device("meta"):
        outputs = recipe.task.model(recipe.model_name, data).eval()(torch.zeros(2, 3, side, side))
    assert outputs.shape == (2, data.n_classes)


@pytest.mark.parametrize(
    ("batch", "log2_peak", "warmup"),
    [
        (512, 2, 10 / 64),
        (1024, 2.5, 0.3125),
        (2048, 3, 0.625),
        (4096, 3.5, 1.25),
        (8192, 4, 2.5),
        (16384, 4.5, 5),
        (32768, 5, 10),
    ],
)
def test_legw_goes_through_its_table_by_the_batch_alone(batch: int, log2_peak: float, warmup: float) -> None:
    recipe = read("imagenet-resnet50-legw", "--global_batch", str(batch))
    assert rate(recipe, 0) == 0
    assert rate(recipe, warmup) == pytest.approx(2**log2_peak, rel=1e-12)
    assert rate(recipe, warmup / 2) == pytest.approx(2**log2_peak / 2, rel=1e-12)
    assert rate(recipe, (warmup + 90) / 2) == pytest.approx(2**log2_peak / 4, rel=1e-12)  # poly(2)
    assert rate(recipe, 90) == 0


@pytest.mark.parametrize(
    ("name", "batch", "peak", "warmup", "decay_updates"),
    [("lars-8k", 8192, 17, 5, 6095), ("lars-32k", 32768, 21.2, 16, 2267), ("lars-64k", 65536, 24.699, 31, 1133)],
)
def test_mlperfs_points(name: str, batch: int, peak: float, warmup: float, decay_updates: int) -> None:
    recipe = read(f"imagenet-resnet50-{name}")
    (phase,) = plan(recipe, IMAGENET)
    assert phase.global_batch == batch
    assert phase.first_rate == 0
    assert rate(recipe, warmup) == pytest.approx(peak)
    assert rate(recipe, recipe.options.epochs) == pytest.approx(1e-4, rel=0.01)
    updates_an_epoch = phase.updates / recipe.options.epochs
    assert phase.updates - warmup * updates_an_epoch == pytest.approx(decay_updates, rel=0.025)


@pytest.mark.parametrize(
    ("flags", "first", "peak", "ramp", "updates"),
    [
        ("", 1, 10, 600, 15_600),
        (
            "--global_batch 1024 --optimizer.lr 2 --learning_rate.warmup none --learning_rate.warmup_epochs 0",
            2,
            2,
            0,
            125_000,
        ),
        (
            "--global_batch 16384 --optimizer.lr 16 --learning_rate.warmup_epochs 5.12 "
            "--learning_rate.warmup_start 0.0625",
            1,
            16,
            400,
            7_800,
        ),
    ],
)
def test_alexnet_follows_the_authors_solver_files(
    flags: str, first: float, peak: float, ramp: int, updates: int
) -> None:
    recipe = read("imagenet-alexnet-lars", *flags.split())
    assert rate(recipe, 0) == first
    assert rate(recipe, ramp * recipe.global_batch / IMAGENET) == pytest.approx(peak, rel=1e-3)
    assert -(-IMAGENET // recipe.global_batch) * recipe.options.epochs == pytest.approx(updates, rel=0.02)


def test_adabatch_on_imagenet_as_tabled_in_the_recipe() -> None:
    first, *rest = plan(read("imagenet-resnet50-adabatch"), IMAGENET, n_ranks=16)
    assert first.first_rate == pytest.approx(0.1)
    assert first.last_rate == pytest.approx(3.2)
    found = [(row.epoch, row.global_batch, row.passes, row.micro_batch) for row in (first, *rest)]
    assert found == [(0, 8192, 8, 64), (30, 16384, 16, 64), (60, 32768, 32, 64)]
    assert [(row.first_rate, row.last_rate) for row in rest] == [pytest.approx((r, r)) for r in (0.64, 0.128)]
    effective = [row.last_rate / row.global_batch for row in (first, *rest)]
    assert effective[1] / effective[0] == pytest.approx(0.1)
    assert effective[2] / effective[1] == pytest.approx(0.1)


def test_late_switching_takes_three_quarters_of_the_samples_at_the_small_batch() -> None:
    rows = plan(read("cifar10-resnet20-late-switch"), CIFAR)
    assert [(row.epoch, row.global_batch) for row in rows] == [(0, 128), (75, 2048)]
    assert {row.first_rate for row in rows} == {row.last_rate for row in rows} == {0.05}
    assert [row.updates for row in rows] == [75 * 391, 25 * 24]
    early, late = plan(read("cifar10-resnet20-late-switch", "--policy.text=0:128 25ep:2048"), CIFAR)
    assert (early.updates, late.updates) == (25 * 391, 75 * 24)


@pytest.mark.parametrize(("network", "batch"), [("resnet20", 128), ("vgg19", 128), ("alexnet", 256)])
def test_adabatch_on_cifar_doubles_four_times(network: str, batch: int) -> None:
    """2.58 times fewer updates than the fixed start batch, and the effective rate of a decay by 0.375."""
    rows = plan(read(f"cifar10-{network}-adabatch"), CIFAR)
    assert [(row.epoch, row.global_batch) for row in rows] == [(20 * n, batch * 2**n) for n in range(5)]
    effective = [row.first_rate / row.global_batch for row in rows]
    assert rows[0].first_rate == 0.01
    assert effective == pytest.approx([effective[0] * 0.375**n for n in range(5)])
    assert 100 * -(-CIFAR // batch) / sum(row.updates for row in rows) == pytest.approx(2.58, rel=0.01)
