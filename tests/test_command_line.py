"""Recipes from YAML and flags. What users get wrong is tried with real ranks in launch/test_bad_input.py."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hpc_adabatch.command_line import CHOICES, parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.learning_rate import LearningRate
from hpc_adabatch.policies import AdaBatch, Fixed, Schedule
from hpc_adabatch.verb_flags import TrainFlags
from hpc_adabatch.yaml_core import dump, load

QUICKSTART = str(Path(__file__).resolve().parent.parent / "recipes" / "quickstart.yaml")


def test_flags_win_over_the_recipe() -> None:
    recipe, flags, _ = parse_recipe(
        "train", [QUICKSTART, "--epochs", "3", "--policy.factor=4", "--out", "x"], TrainFlags
    )
    assert recipe.options.epochs == 3
    assert isinstance(recipe.policy, AdaBatch)
    assert recipe.policy.factor == 4
    assert recipe.policy.interval == 6  # the recipe's
    assert flags["out"] == "x"


def test_another_rule_drops_the_fields_of_the_recipes() -> None:
    assert isinstance(parse_recipe("train", [QUICKSTART, "--policy", "fixed"])[0].policy, Fixed)
    recipe, _, _ = parse_recipe("train", [QUICKSTART, "--policy=schedule", "--policy.text=0:16 2ep:64"])
    assert isinstance(recipe.policy, Schedule)
    assert recipe.global_batch == 16


def test_a_line_leaves_nothing_to_the_next() -> None:
    """The parser of a choice of classes is made once."""
    before = parse_recipe("train", [QUICKSTART], TrainFlags)[2]
    parse_recipe("train", [QUICKSTART, "--policy.factor=4", "--seed=9", "--learning_rate.decay=poly"], TrainFlags)
    assert parse_recipe("train", [QUICKSTART], TrainFlags)[2] == before


def test_a_schedule_brings_its_batch(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text('policy: {name: schedule, text: "0:24 2ep:48"}\n', encoding="utf-8")
    assert parse_recipe("train", [str(path)])[0].global_batch == 24


def test_the_resolved_recipe_is_a_recipe_for_the_same_run(tmp_path: Path) -> None:
    flags = [QUICKSTART, "--seed", "4", "--optimizer", "lars", "--learning_rate.decay", "poly", "--out", "x"]
    _, _, resolved = parse_recipe("train", flags, TrainFlags)
    path = tmp_path / "config.yaml"
    path.write_text(resolved, encoding="utf-8")
    recipe, _, again = parse_recipe("train", [str(path)], TrainFlags)
    assert again == resolved
    assert recipe.chosen == {"task": "digits", "policy": "adabatch", "optimizer": "lars"}
    assert recipe.options.seed == 4


GOYAL = ["--learning_rate.preset", "goyal"]


@pytest.mark.parametrize("spelling", [["--learning_rate.warmup", "none"], ["--learning_rate.warmup=none"]])
@pytest.mark.parametrize("by", ["flag", "recipe"])
def test_a_field_given_beside_a_preset_holds_though_it_is_the_default(
    spelling: list[str], by: str, tmp_path: Path
) -> None:
    """The preset overruled it: warm-up over 5 epochs, which the user had taken away."""
    path = tmp_path / "recipe.yaml"
    path.write_text("global_batch: 8\nlearning_rate: {warmup: none, warmup_epochs: 0}\n", encoding="utf-8")
    line = [str(path), *GOYAL] if by == "recipe" else [QUICKSTART, *GOYAL, *spelling, "--learning_rate.warmup_epochs=0"]
    recipe, _, resolved = parse_recipe("train", line)
    assert recipe.learning_rate == LearningRate(scaling="linear")
    path.write_text(resolved, encoding="utf-8")
    again, _, text = parse_recipe("train", [str(path)])
    assert (again.learning_rate, text) == (recipe.learning_rate, resolved)


def test_the_learning_rate_may_be_a_file(tmp_path: Path) -> None:
    """It ended in a traceback."""
    path = tmp_path / "rate.yaml"
    path.write_text("scaling: linear\n", encoding="utf-8")
    recipe, _, resolved = parse_recipe("train", [QUICKSTART, "--learning_rate", str(path)])
    assert recipe.learning_rate == LearningRate(scaling="linear")
    assert str(path) not in resolved


@pytest.mark.parametrize("text", ["seed: 2024-13-45", "seed: !!int x", "[" * 10**4, "seed: [" * 2000])
def test_what_yaml_itself_stumbles_over_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"^(RECIPE: given .*recipe.yaml|seed: given 2024-13-45; allowed: an integer)"):
        parse_recipe("train", [str(tmp_path / "recipe.yaml")])
    with pytest.raises(InputError, match=r"^RECIPE: given \S* \(ValueError\); allowed: a YAML file that can be read"):
        parse_recipe("train", ["a\0b"])


@pytest.mark.parametrize("name", ["[fixed]", "{name: fixed}", "1", "null", "2024-01-01"])
def test_the_name_of_a_class_is_a_word(name: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(f"policy: {{name: {name}}}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"^policy: given .*; allowed: adabatch, .*; type --policy "):
        parse_recipe("train", [str(tmp_path / "recipe.yaml")])


def test_a_number_beyond_all_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(f"policy: {{name: plateau, threshold: {-(10**400)}}}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"OverflowError\); allowed: .* numbers in range"):
        parse_recipe("train", [str(tmp_path / "recipe.yaml")])


@pytest.mark.parametrize("flag", ["learning_rate", "config"])
def test_such_a_file_that_is_no_text_is_one_line(flag: str, tmp_path: Path) -> None:
    path = tmp_path / "rate.yaml"
    path.write_bytes(b"scaling: \xff\n")
    line = rf"^command line: given --{flag} {path} \(UnicodeDecodeError\); allowed: files of YAML in UTF-8, "
    with pytest.raises(InputError, match=line):
        parse_recipe("train", [QUICKSTART, f"--{flag}", str(path)])


def test_a_preset_gives_the_fields_that_were_left_out(tmp_path: Path) -> None:
    whole = LearningRate.from_preset("goyal")
    recipe, _, resolved = parse_recipe("train", [QUICKSTART, *GOYAL])
    assert recipe.learning_rate == whole
    assert parse_recipe("train", [QUICKSTART, *GOYAL, "--out", "warmup"], TrainFlags)[0].learning_rate == whole
    shorter, _, _ = parse_recipe("train", [QUICKSTART, *GOYAL, "--learning_rate.warmup_epochs=2"])
    assert shorter.learning_rate == replace(whole, warmup_epochs=2.0)
    path = tmp_path / "config.yaml"  # as version 0.1.0 wrote it: all fields at their defaults, besides the preset
    of_old = yaml.safe_load(resolved)
    of_old["learning_rate"] |= {"scaling": "none", "warmup": "none", "warmup_epochs": 0.0, "warmup_start": 0.0}
    of_old["learning_rate"]["preset"] = "goyal"
    path.write_text(yaml.safe_dump(of_old), encoding="utf-8")
    assert parse_recipe("train", [str(path)])[0].learning_rate == whole


def test_print_config_shows_every_field_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_recipe("train", [QUICKSTART, "--print_config"], TrainFlags)
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "factor: 2" in printed
    assert "max_micro_batch: 256" in printed


def test_help_lists_every_field_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_recipe("train", [QUICKSTART, "--help"], TrainFlags)
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for expected in (
        "--max_micro_batch",
        "--policy.factor",
        "Growth of the batch per change",
        "number of passes over the training set",
    ):
        assert expected in printed
    assert "Path to a configuration file" not in printed


@pytest.mark.parametrize("policy", CHOICES["policy"][0])
def test_help_tells_what_every_field_is(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A field is explained by its own class or by one that it inherits from."""
    with pytest.raises(SystemExit):
        parse_recipe("train", [QUICKSTART, "--policy", policy, "--help"], TrainFlags)
    printed = " ".join(capsys.readouterr().out.split())
    assert re.findall(r"(--\S+) (?:\S+ )?\(", printed) == []


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        ("--polcy.factor=3", "polcy.factor: given a field that does not exist;"),
        ("--policy.facto=3", "type --policy.factor VALUE"),
        ("--channels_last=maybe", "channels_last: given maybe; allowed: true or false; type --channels_last false"),
        (
            "--max_global_batch=1.5",
            "max_global_batch: given 1.5; allowed: an integer or null; type --max_global_batch VALUE",
        ),
        ("--learning_rate.warmup=legs", "allowed: 'none', 'fixed', 'legw', 'auto'; type --learning_rate.warmup none"),
    ],
)
def test_the_line_says_what_to_type(flag: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_recipe("train", [QUICKSTART, flag])
    assert line in str(caught.value)


def typed_fields() -> list[str]:
    """``section.choice.field`` of everything in a recipe that is not just text."""
    found = []
    for section, (classes, _) in CHOICES.items():
        for name, kind in classes.items():
            fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
            types = {field.name: getattr(field.type, "__name__", str(field.type)) for field in fields if field.init}
            found += [f"{section}.{name}.{field}" for field, text in types.items() if not text.startswith("str")]
    return found


@pytest.mark.parametrize("path", typed_fields())
def test_every_field_of_every_class_has_its_type_checked(path: str) -> None:
    """A class whose base's annotations could not be resolved took any word for a number."""
    section, name, field = path.split(".")
    with pytest.raises(InputError) as caught:
        parse_recipe("train", [QUICKSTART, f"--{section}", name, f"--{section}.{field}", "neither"])
    assert caught.value.field.startswith(f"{section}.{field}")


def read_three_ways(field: str, text: str, tmp_path: Path) -> list[object]:
    """The value of the field by a flag, in a recipe and in a file of --config; ``refused`` for an error of one line."""
    section, _, name = field.rpartition(".")
    lines = [f"  {name}: {text}"] if section else [f"{name}: {text}"]
    file = tmp_path / "recipe.yaml"
    heads = {"task": ["task:", "  name: cifar10"], "optimizer": ["optimizer:", "  name: sgd"], "": []}[section]
    file.write_text("\n".join(["global_batch: 8", *heads, *lines, ""]), encoding="utf-8")
    found: list[object] = []
    for line in ([f"--{field}={text}"], ["--config", str(file)], []):
        recipe = [QUICKSTART, "--task=cifar10", "--optimizer=sgd"] if line else [str(file)]
        try:
            found.append(parse_recipe("train", [*recipe, *line])[1][field])
        except InputError as error:
            found.append("refused" if error.field == field else str(error))
    return found


@pytest.mark.parametrize(
    ("field", "text", "means"),
    [
        ("epochs", "010", 10),  # 8 in a file, as YAML 1.1 has it, and 10 by a flag
        ("epochs", "+5", 5),
        ("epochs", "1:30", "refused"),  # 90
        ("epochs", "1_000", "refused"),
        ("epochs", "0x10", "refused"),
        ("epochs", "0b11", "refused"),
        ("epochs", "1e1", "refused"),
        ("optimizer.lr", "010", 10.0),
        ("optimizer.lr", "1e-3", 0.001),
        ("optimizer.lr", "1E3", 1000.0),
        ("optimizer.lr", ".5", 0.5),
        ("optimizer.lr", "5.", 5.0),
        ("optimizer.lr", "1:30", "refused"),
        ("optimizer.lr", "1:30.5", "refused"),
        ("optimizer.lr", "1_0.5", "refused"),
        ("clip_norm", "012", 12.0),
        ("clip_norm", "~", None),
        ("channels_last", "true", True),
        ("channels_last", "yes", "refused"),  # true
        ("channels_last", "off", "refused"),
        ("channels_last", "on", "refused"),
        ("task.root", "no", "no"),  # a folder of this name: false in a file
        ("task.root", "1:30", "1:30"),
        ("task.root", "2020-01-01", "2020-01-01"),
    ],
)
def test_a_text_means_the_same_by_a_flag_and_in_a_file(field: str, text: str, means: object, tmp_path: Path) -> None:
    read = read_three_ways(field, text, tmp_path)
    assert read == [means] * 3
    assert [type(value) for value in read] == [type(means)] * 3


@pytest.mark.parametrize("text", ["1e3", "010", "no", "null", "~", "1:30", ".5", "0x10"])
def test_text_that_looks_like_a_number_stays_text_in_the_resolved_recipe(text: str, tmp_path: Path) -> None:
    resolved = parse_recipe("train", [QUICKSTART, "--task=cifar10", "--task.root=x"])[2]
    path = tmp_path / "config.yaml"
    path.write_text(dump(load(resolved) | {"task": {"name": "cifar10", "root": text}}), encoding="utf-8")
    assert parse_recipe("train", [str(path)])[1]["task.root"] == text
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["task"]["root"] == text


def test_a_section_may_begin_as_another_one() -> None:
    assert load("a: &a {x: 1}\nb: {<<: *a, y: 2}")["b"] == {"x": 1, "y": 2}
