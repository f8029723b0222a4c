"""What may differ between a checkpoint and the run that goes on from it, and what is said of it."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run import restart
from hpc_adabatch.run.export.scalars import Curves
from hpc_adabatch.run.growth import phases
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.run.report.account import account
from hpc_adabatch.run.report.sections import about
from hpc_adabatch.run.watch.panel import event
from hpc_adabatch.run.watch.position import Position
from hpc_adabatch.training import checkpoint
from hpc_adabatch.training.journal import read

pytestmark = pytest.mark.long

QUICKSTART = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")
SMALL = [
    "--task=ridge",
    "--model=linear",
    "--task.samples=96",
    "--task.features=3",
    "--policy=fixed",
    "--max_micro_batch=16",
]
POLY = ["--learning_rate.decay=poly", "--learning_rate.power=1", "--optimizer.momentum=0", "--journal_every=1"]


def recipe(*flags: str) -> str:
    return parse_recipe("train", [QUICKSTART, *flags])[2]


def run(folder: Path, *flags: str) -> RecipeRun:
    parsed, _, resolved = parse_recipe("train", [QUICKSTART, *SMALL, *flags])
    return RecipeRun(parsed, resolved, folder, resume=True, cluster=SingleProcess())


def trained(folder: Path, *flags: str) -> Path:
    assert run(folder, *flags).train() == 0
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / "checkpoint" / "last.pt", weights_only=True)["training"]
    return dict(found["model"])


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "two", *POLY, "--epochs=2")


@pytest.fixture
def folder(two_epochs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_epochs, tmp_path / "run"))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (["--epochs=3"], ["--epochs=30"]),
        (["--workers=0", "--journal_every=1"], ["--workers=2", "--evaluation_batch=7"]),
        (["--task=cifar10", "--task.root=/scratch/job-1"], ["--task=cifar10", "--task.root=/scratch/job-2"]),
        (["--task=cifar10"], ["--task=cifar10", "--task.download=true"]),
        (["--task=image_folder"], ["--task=image_folder", "--task.memory_gb=0", "--task.root=/tmp"]),
        (["--task=text", "--task.train=a", "--task.test=b"], ["--task=text", "--task.train=c", "--task.test=d"]),
        (["--max_micro_batch=64"], ["--max_micro_batch=8"]),
        (["--max_micro_batch=auto"], ["--max_micro_batch=8"]),
        (["--global_batch=16", "--max_micro_batch=null"], ["--global_batch=16", "--max_micro_batch=16"]),
        (["--learning_rate.decay=poly", "--epochs=3"], ["--learning_rate.decay=poly", "--epochs=5"]),
        (["--epochs=3"], ["--epochs=5", "--learning_rate.epochs=3"]),
        (["--epochs=3", "--learning_rate.epochs=3"], ["--epochs=3"]),
    ],
)
def test_what_leaves_the_run_the_same_may_change(before: list[str], now: list[str]) -> None:
    restart.check_same(recipe(*before), recipe(*now))
    restart.check_same(recipe(*now), recipe(*before))


@pytest.mark.parametrize(
    ("before", "now", "line"),
    [
        ([], ["--seed=1"], "seed: given 1; allowed: 0, as in the run that is resumed; type --seed 0"),
        ([], ["--clip_norm=1"], "clip_norm: given 1.0; allowed: null, as in .*; type --clip_norm null"),
        ([], ["--max_global_batch=128"], "max_global_batch: given 128; allowed: 256"),
        ([], ["--policy=fixed"], "policy.name: given fixed; allowed: adabatch, as in .*; type --policy.name adabatch"),
        ([], ["--policy.factor=4"], "policy.factor: given 4"),
        ([], ["--task.augment=false"], "task.augment: given False; allowed: True"),
        ([], ["--optimizer.lr=0.1"], "optimizer.lr: given 0.1"),
        (["--epochs=3"], ["--epochs=5", "--learning_rate.epochs=4"], "learning_rate.epochs: given 4.0; allowed: 3"),
        (["--epochs=3", "--learning_rate.epochs=3"], ["--epochs=5"], "learning_rate.epochs: given 5; allowed: 3.0"),
    ],
)
def test_what_makes_another_run_is_refused(before: list[str], now: list[str], line: str) -> None:
    with pytest.raises(InputError, match=f"^{line}"):
        restart.check_same(recipe(*before), recipe(*now))


def test_a_field_that_a_release_did_not_have_yet_means_its_default() -> None:
    differ = {"compression": "fp16", "split_passes": False, "optimizer.nesterov": True}
    text = recipe(*(f"--{field}={value}" for field, value in differ.items()))
    for field, now in {**differ, "journal_every": 10, "policy.factor": 2, "learning_rate.warmup": "none"}.items():
        tree = yaml.safe_load(text)
        *section, name = field.split(".")
        del (tree[section[0]] if section else tree)[name]
        changed = restart.differences(yaml.safe_dump(tree), text)
        assert list(changed) == ([field] if field in differ else [])
        assert all(after == now for _, after in changed.values())


def test_fewer_epochs_than_are_done_are_refused(folder: Path) -> None:
    before = (folder / "journal.jsonl").read_bytes(), (folder / "result.json").read_bytes()
    with pytest.raises(InputError, match=r"^epochs: given 1; allowed: 2 or more, as 2 are done; type --epochs 2$"):
        run(folder, *POLY, "--epochs=1")
    assert before == ((folder / "journal.jsonl").read_bytes(), (folder / "result.json").read_bytes())


def test_another_training_set_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"^task.samples: given 95; allowed: 96"):
        run(folder, *POLY, "--epochs=2", "--task.samples=95")


@pytest.mark.parametrize("remains", ["an empty folder", "nothing"])
def test_a_lost_checkpoint_is_not_made_good_by_starting_anew(remains: str, folder: Path) -> None:
    shutil.rmtree(folder / "checkpoint")
    if remains == "an empty folder":
        (folder / "checkpoint").mkdir()
    before = (folder / "journal.jsonl").read_bytes()
    with pytest.raises(InputError, match=rf"^resume: given {folder}, whose checkpoint/ is missing .* type --out DIR, "):
        run(folder, *POLY, "--epochs=2")
    assert (folder / "journal.jsonl").read_bytes() == before
    (folder / "journal.jsonl").unlink()
    assert run(folder, *POLY, "--epochs=2").training.steps == 0


def test_a_run_killed_in_its_first_checkpoint_starts_again(folder: Path, two_epochs: Path) -> None:
    """Its journal ends with the first evaluation."""
    shutil.rmtree(folder / "checkpoint")
    (folder / "result.json").unlink()
    lines = (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if '"kind": "evaluation"' in line)
    for cut in ("", '{"kind": "stat'):  # a line that was cut short is none
        (folder / "journal.jsonl").write_text("".join(lines[: first + 1]) + cut, encoding="utf-8")
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        trained(folder, *POLY, "--epochs=2")
        (folder / "result.json").unlink()
    found, expected = weights(folder), weights(two_epochs)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_more_epochs_stretch_the_decay_and_both_rates_are_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """96 samples in steps of 16: the last of 12 steps has 1/12 of the base rate, and step 13 of 24 has half of it."""
    trained(folder, *POLY, "--epochs=4")
    said = capsys.readouterr().out
    assert (
        "epochs 4 instead of 2: decay poly ends there, and the learning rate goes from 0.004167 to 0.025; "
        "--learning_rate.epochs 2 keeps the decay as it was\n"
    ) in said
    (resume,) = (record for record in read(folder / "journal.jsonl") if record["kind"] == "resume")
    assert resume["changed"] == {"epochs": [2, 4]}
    assert resume["learning_rate"] == pytest.approx(0.025)


def test_more_epochs_with_the_decay_as_it_was_are_no_news(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(folder, *POLY, "--epochs=3", "--learning_rate.epochs=2")
    assert "epochs 3 instead of" not in capsys.readouterr().out
    rates = [record["learning_rate"] for record in read(folder / "journal.jsonl") if record["kind"] == "statistics"]
    assert rates == pytest.approx([0.05 * (12 - step) / 12 for step in range(12)] + [0.0] * 6)


def test_smaller_passes_are_said_and_the_run_is_the_same_but_for_its_rounding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path / "other", "--epochs=2")
    shutil.copytree(tmp_path / "other", tmp_path / "same")
    capsys.readouterr()
    trained(tmp_path / "other", "--epochs=3", "--max_micro_batch=3")
    said = capsys.readouterr().out
    assert "max_micro_batch 3 instead of 16: passes of other sizes" in said
    trained(tmp_path / "same", "--epochs=3")
    assert "max_micro_batch" not in capsys.readouterr().out
    found, expected = weights(tmp_path / "other"), weights(tmp_path / "same")
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-7)


def test_an_unchanged_recipe_changes_nothing(folder: Path) -> None:
    before = weights(folder)
    assert run(folder, *POLY, "--epochs=2").train() == 0
    assert all(torch.equal(before[name], value) for name, value in weights(folder).items())


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        ("recipe", "a: [", "ValueError"),
        ("metric", "0.5", "another type of metric"),
        ("journal_bytes", 1.5, "another type of journal_bytes"),
        ("elapsed_s", float("nan"), "another type of elapsed_s"),
        ("training.global_batch", [16], "another type of training.global_batch"),
        ("training.steps", None, "another type of training.steps"),
        ("training.plan.epoch", "1", "another type of training.plan.epoch"),
        ("training.course.clock", "1", "another type of training.course.clock"),
        ("training.plan.n_samples", torch.zeros(2), "another type of training.plan.n_samples"),
        ("training.learning_rate_factor", {}, "another type of training.learning_rate_factor"),
        ("training.model.weight", torch.zeros(1, 4), "another type of training.model.weight"),
        ("training.model.bias", torch.zeros(1), "Unexpected key"),
    ],
)
def test_a_checkpoint_with_a_value_of_another_type_is_one_line(
    place: str, value: object, line: str, folder: Path
) -> None:
    state = torch.load(folder / "checkpoint" / "last.pt", weights_only=True)
    *path, name = place.split(".")
    functools.reduce(lambda node, key: node[key], path, state)[name] = value
    checkpoint.save(folder / "checkpoint", state)
    with pytest.raises(InputError, match=r"^resume: given .*; allowed: the checkpoint of a run") as caught:
        run(folder, *POLY, "--epochs=2")
    assert line in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("missing", ["recipe", "metric", "course", "search", "journal_bytes"])
def test_a_checkpoint_without_what_a_run_has_is_one_line(missing: str, folder: Path) -> None:
    """Bug story: another program's dictionary, or that of another release, ended in a KeyError."""
    state = torch.load(folder / "checkpoint" / "last.pt", weights_only=True)
    for part in (state, state["training"]):
        part.pop(missing, None)
    checkpoint.save(folder / "checkpoint", state)
    line = rf"^resume: given .*checkpoint \(without {missing}\); allowed: the checkpoint of a run"
    with pytest.raises(InputError, match=line):
        run(folder, *POLY, "--epochs=2")


def test_a_run_that_found_its_micro_batch_goes_on_with_it(tmp_path: Path) -> None:
    """The same bit by bit, and nothing is looked for again."""
    auto = [*POLY, "--max_micro_batch=auto", "--learning_rate.epochs=3"]
    whole = trained(tmp_path / "whole", *auto, "--epochs=3")
    parts = trained(tmp_path / "parts", *auto, "--epochs=2")
    trained(parts, *auto, "--epochs=3")
    for folder in (whole, parts):
        told = [line for line in read(folder / "journal.jsonl") if line["kind"] == "micro_batch"]
        assert [(line["step"], line["max_micro_batch"]) for line in told] == [(0, 16)]
        assert phases(read(folder / "journal.jsonl"))[0]["kind"] == "micro_batch"
    for name, value in weights(whole).items():
        assert torch.equal(weights(parts)[name], value)
    facts = dict(about(account(whole)))
    assert facts["largest micro-batch"] == "16: found before training: no step needs more"
    records = read(whole / "journal.jsonl")
    position, curves = Position(records[0]), Curves()
    curves.take(records[0])
    assert records[1]["kind"] == "micro_batch"
    position.take(records[1])
    values, words = curves.take(records[1])
    assert words == event(position) == "micro-batch at most 16: found before training: no step needs more"
    assert (values["batch/micro"], values["batch/passes"]) == (16, 1)
    assert position.holding is records[1]
    assert position.change is None
