"""What a user may get wrong: one line from rank 0, exit code 2, no traceback, no hang, nothing left half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

pytestmark = pytest.mark.launch
RECIPE = "recipes/quickstart.yaml"


def image_folder(root: Path, train: int = 4, test: int = 4, classes: tuple[str, ...] = ("even", "odd")) -> Path:
    """Real digits as PNG files of 16x16 pixels, so many per class."""
    pixels = np.kron(load_digits().images, np.ones((2, 2))).astype(np.uint8) * 15
    for part, count in (("train", train), ("test", test)):
        for number, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for index in range(count):
                Image.fromarray(pixels[index * len(classes) + number]).save(root / part / name / f"{index}.png")
    return root


def written(folder: Path, text: str) -> list[object]:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return [path]


def flags(*values: object) -> Callable[[Path], list[object]]:
    return lambda _: [RECIPE, *values]


def on_images(folder: Path, *values: object) -> list[object]:
    return [RECIPE, "--task", "image_folder", "--task.root", folder / "images", "--global_batch", 2, *values]


def unreadable(folder: Path, *values: object) -> list[object]:
    root = image_folder(folder / "images")
    (root / "train" / "odd" / "1.png").write_bytes(b"no image")
    return on_images(folder, *values)


def single_image(folder: Path) -> list[object]:
    image_folder(folder / "images", train=1, classes=("all",))
    return on_images(folder, "--global_batch", 1)


def other_classes(folder: Path) -> list[object]:
    shutil.move(image_folder(folder / "images") / "test" / "odd", folder / "images" / "test" / "strange")
    return on_images(folder)


def small_images(folder: Path) -> list[object]:
    image_folder(folder / "images")
    return on_images(folder, "--model", "alexnet")


def occupied(folder: Path) -> list[object]:
    (folder / "run").mkdir()
    (folder / "run" / "journal.jsonl").write_text("{}\n", encoding="utf-8")
    return [RECIPE]


def damaged(folder: Path) -> list[object]:
    (folder / "run" / "checkpoint").mkdir(parents=True)
    (folder / "run" / "checkpoint" / "last.pt").write_bytes(b"PK half a file")
    return [RECIPE, "--resume", "auto"]


@dataclass
class Case:
    about: str
    field: str
    arguments: Callable[[Path], list[object]] = field(repr=False)


CASES = [
    Case("no recipe", "RECIPE", lambda _: ["--epochs", 1]),
    Case("a recipe that is not there", "RECIPE", lambda _: ["recipes/none.yaml"]),
    Case("a recipe that is not YAML", "RECIPE", lambda f: written(f, "epochs: [1\nseed: 2\n")),
    Case("a recipe that is a list", "RECIPE", lambda f: written(f, "- epochs\n- seed\n")),
    Case("an unknown field", "epohcs", lambda f: written(f, "global_batch: 4\nepohcs: 3\n")),
    Case("an unknown field of a rule", "policy.theta", flags("--policy.theta", 0.9)),
    Case("an unknown flag", "batchsize", flags("--batchsize", 3)),
    Case("an unknown rule", "policy", flags("--policy", "adabtach")),
    Case("a section that is a number", "learning_rate", lambda f: written(f, "global_batch: 4\nlearning_rate: 3\n")),
    Case("a wrong type", "epochs", flags("--epochs", "ten")),
    Case("an empty value", "epochs", lambda f: written(f, "global_batch: 4\nepochs:\n")),
    Case("a wrong choice", "precision", flags("--precision", "float8")),
    Case("no batch", "global_batch", lambda f: written(f, "task: digits\n")),
    Case("a negative batch", "global_batch", flags("--global_batch", -16)),
    Case("a batch above the training set", "global_batch", flags("--global_batch", 5000, "--max_global_batch", 6000)),
    Case("a maximum below the start", "max_global_batch", flags("--max_global_batch", 8)),
    Case("no micro-batch", "max_micro_batch", flags("--max_micro_batch", 0)),
    Case("no epochs", "epochs", flags("--epochs", 0)),
    Case("a negative learning rate", "optimizer.lr", flags("--optimizer.lr", -0.1)),
    Case("a momentum of 1.5", "optimizer.momentum", flags("--optimizer", "lars", "--optimizer.momentum", 1.5)),
    Case("a factor that shrinks", "policy.factor", flags("--policy.factor", 0.5)),
    Case("a warm-up without epochs", "learning_rate.warmup_epochs", flags("--learning_rate.warmup", "legw")),
    Case("a decay inside its warm-up", "learning_rate.epochs", flags(
        "--learning_rate.warmup", "fixed", "--learning_rate.warmup_epochs", 5, "--learning_rate.decay", "poly",
        "--learning_rate.epochs", 3)),
    Case("a schedule that goes backwards", "policy.text", flags(
        "--policy", "schedule", "--policy.text", "0:16 9ep:32 3ep:64")),
    Case("a schedule without its text", "policy.text", flags("--policy", "schedule")),
    Case("a schedule against the batch", "global_batch", flags("--policy", "schedule", "--policy.text", "0:32 9ep:64")),
    Case("a schedule above the maximum", "policy", flags("--policy", "schedule", "--policy.text", "0:16 9ep:640")),
    Case("a theta of 0", "policy.theta", flags("--policy", "norm_test", "--policy.theta", 0)),
    Case("a window shorter than a batch", "policy.window", flags("--policy", "noise_scale", "--policy.window", 9)),
    Case("an angle of 0", "policy.nu", flags("--policy", "inner_product", "--policy.nu", 0)),
    Case("a cosine of 1", "policy.similarity", flags("--policy", "simigrad", "--policy.similarity", 1)),
    Case("a growth of 0", "policy.growth", flags("--policy", "big_batch", "--policy.growth", 0)),
    Case("no patience", "policy.patience", flags("--policy", "plateau", "--policy.patience", 0)),
    Case("a minimum above the batch", "min_global_batch", flags("--min_global_batch", 999)),
    Case("a budget of 0", "statistics_budget", flags("--statistics_budget", 0)),
    Case("a decrease above a half", "optimizer.decrease", flags("--optimizer", "armijo", "--optimizer.decrease", 0.7)),
    Case("a schedule for searched steps", "learning_rate", flags(
        "--optimizer", "armijo", "--learning_rate.scaling", "sqrt")),
    Case("a condition below 1", "task.condition", flags("--task", "ridge", "--task.condition", 0.5)),
    Case("a LIBSVM file that is not there", "task.file", flags("--task", "ridge", "--task.file", "none")),
    Case("a journal that is not there", "policy.journal", flags("--policy", "replay", "--policy.journal", "none")),
    Case("an unknown network", "model", flags("--model", "resnet21")),
    Case("a network for other images", "model", flags("--model", "resnet50")),
    Case("a network for larger images", "model", small_images),
    Case("a missing data folder", "task.root", lambda f: on_images(f)),
    Case("missing CIFAR-10", "task.root", flags("--task", "cifar10", "--task.root", "/nonexistent")),
    Case("an image that cannot be read", "task.root", unreadable),
    Case("an image found unreadable in training", "task.root", lambda f: unreadable(f, "--task.memory_gb", 0)),
    Case("other classes to test than to train", "task.root", other_classes),
    Case("more ranks than samples", "ranks", single_image),
    Case("a folder that cannot be written", "out", flags("--out", "/proc/run")),
    Case("a folder that holds a run", "out", occupied),
    Case("a damaged checkpoint", "resume", damaged),
    Case("nodes that follow the batch without a queue", "nodes_follow", flags("--nodes_follow", "1:4")),
    Case("a range of nodes that is none", "nodes_follow", flags("--nodes_follow", "4:1")),
    Case("a wait for nodes that stay", "wait_s", flags("--wait_s", 60)),
    Case("a target of another metric", "until", flags("--until", "perplexity=20")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_one_line_and_exit_code_2(case: Case, adabatch: Any, tmp_path: Path) -> None:
    launcher = ("mpirun", "mpirun, torch")[CASES.index(case) % 2]  # half of the cases with each engine
    arguments = case.arguments(tmp_path)
    out = [] if "--out" in arguments else ["--out", tmp_path / "run"]
    done = adabatch("train", *arguments, *out, ranks=2, launcher=launcher, code=2, timeout_s=60)
    ours = [line for line in done.stderr.splitlines() if "adabatch" in line]
    assert len(ours) == 1, done.stderr
    assert ours[0].startswith("adabatch: error")
    assert f": {case.field}: given " in ours[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "run" / "result.json").exists()


def test_one_rank_that_may_not_split_its_pass_cannot_measure(adabatch: Any, tmp_path: Path) -> None:
    measured = ["--policy", "noise_scale", "--split_passes", "false"]
    done = adabatch("train", RECIPE, *measured, "--out", tmp_path / "run", ranks=1, launcher="plain", code=2)
    assert done.stderr.count("adabatch: error: split_passes: given false with one rank and one pass") == 1
    assert "Traceback" not in done.stderr


def test_a_resumed_run_must_be_the_same_run(adabatch: Any, tmp_path: Path) -> None:
    adabatch("train", RECIPE, "--epochs", 1, "--out", tmp_path / "run")
    done = adabatch("train", RECIPE, "--seed", 5, "--out", tmp_path / "run", "--resume", "auto", code=2)
    assert "seed: given 5; allowed: 0, as in the run that is resumed" in done.stderr


@pytest.mark.parametrize("launcher", ["torchrun", "horovodrun --gloo", "plain"])
def test_every_launcher_shows_the_line(launcher: str, adabatch: Any, tmp_path: Path) -> None:
    """Torchrun and horovodrun --gloo end with 1 and a traceback of their own whatever the ranks' exit code is."""
    code = 2 if launcher == "plain" else 1
    done = adabatch("train", RECIPE, "--epochs", 0, "--out", tmp_path, launcher=launcher, code=code, fresh=True)
    assert (done.stdout + done.stderr).count("adabatch: error: epochs: given 0; allowed: 1 or more") == 1


def test_a_horovod_that_does_not_load_is_said_in_one_line(launch: Any, programs: Path, tmp_path: Path) -> None:
    wanted = ["train", RECIPE, "--engine", "horovod", "--out", tmp_path]
    done = launch(programs / "no_horovod.py", "all", *wanted, code=2)
    assert done.stderr.count("adabatch: error: horovod: given does not load") == 1
    assert "type ./launch/install or --engine torch" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_horovod_does_not_load_on_one_rank_torch_sums_on_all_and_a_line_says_so(
    launch: Any, programs: Path, tmp_path: Path
) -> None:
    done = launch(programs / "no_horovod.py", 1, "train", RECIPE, "--epochs", 1, "--out", tmp_path / "run")
    assert done.stderr.count("adabatch: warning: horovod does not load (") == 1
    assert "on rank 1: torch.distributed sums instead; to build it anew: ./launch/install" in done.stderr
    assert "2 rank(s) by torch on 1 node(s)" in done.stdout
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["engine"] == "torch"
