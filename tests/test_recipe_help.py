"""What --help tells of a recipe's fields, and the examples of fields that have no default."""

from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path

import pytest

from hpc_adabatch.cli import VERBS, main
from hpc_adabatch.command_line import CHOICES, parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.learning_rate import LearningRate

ROOT = Path(__file__).resolve().parent.parent


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 0
    return capsys.readouterr().out


def flags_in(text: str) -> list[str]:
    return re.findall(r"^  --([\w.]+)", text, re.MULTILINE)


def test_the_short_help_has_the_verbs_own_flags_examples_and_the_way_to_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The help of train was 230 lines, in which its own three flags drowned."""
    text = printed(capsys, "train", "--help")
    assert flags_in(text) == ["out", "resume", "until", "tensorboard"]
    assert len(text.splitlines()) < 40
    assert "Literal" not in text
    assert printed(capsys, "train", "quickstart", "--epochs", "3", "-h") == text
    topics = re.findall(r"^  adabatch train --help (\w+) ", text, re.MULTILINE)
    assert topics == ["all", "policy", "smith", "global_batch"]
    for topic in topics:
        told = printed(capsys, "train", "--help", topic)
        assert flags_in(told) or (topic == "policy" and "\n  smith " in told)


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if verb.flags is not None])
def test_examples_are_of_the_verb_and_have_only_flags_that_there_are(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {*flags_in(printed(capsys, verb, "--help")), *flags_in(printed(capsys, verb, "x", "--help"))}
    known |= {"policy", "policy.milestones", *flags_in(printed(capsys, verb, "--help", "all"))}
    assert printed(capsys, verb, "--help=smith") == printed(capsys, "train", "--help", "smith")
    for example in VERBS[verb].examples:
        assert f"adabatch {verb}" in example
        assert set(re.findall(r" --([\w.]+)", example)) <= known


def test_all_is_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "train", "quickstart", "--help", "all")
    assert {"config", "out", "global_batch", "policy.factor", "optimizer.momentum", "learning_rate.scaling"} <= set(
        flags_in(text)
    )
    assert "Literal" not in text
    assert printed(capsys, "train", "quickstart", "--help=all") == text


@pytest.mark.parametrize("field", CHOICES)
def test_a_section_lists_its_classes_and_has_the_fields_of_the_one_that_is_chosen(
    field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, "train", "quickstart", "--help", field)
    for name, kind in CHOICES[field][0].items():
        (line,) = re.findall(rf"^  {name} +(\S.*)$", text, re.MULTILINE)
        assert line == " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split()).replace("``", "")
    assert flags_in(text)
    assert all(name.startswith(f"{field}.") for name in flags_in(text))


@pytest.mark.parametrize(("field", "name"), [(field, name) for field in CHOICES for name in CHOICES[field][0]])
def test_a_class_has_what_its_module_says_and_its_fields(
    field: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, "train", "--help", name)
    kind = CHOICES[field][0][name]
    fields = [each for each, how in inspect.signature(kind).parameters.items() if how.kind is how.KEYWORD_ONLY]
    assert [each.partition(".")[2] for each in flags_in(text)] == fields
    assert text.startswith((inspect.getdoc(inspect.getmodule(kind)) or "").splitlines()[0])
    assert printed(capsys, "train", "quickstart", f"--{field}", name, "--help") == text
    assert printed(capsys, "train", f"--{field}={name}", "-h") == text


@pytest.mark.parametrize(
    ("topic", "fields"),
    [
        ("global_batch", ["global_batch"]),
        ("policy.factor", ["policy.factor"]),
        ("factor", ["policy.factor"]),
        ("epochs", ["epochs", "learning_rate.epochs"]),
        (
            "learning_rate",
            [f"learning_rate.{name}" for name in (*inspect.signature(LearningRate).parameters, "preset")],
        ),
    ],
)
def test_a_field_is_found_by_its_name(topic: str, fields: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert flags_in(printed(capsys, "train", "quickstart", "--help", topic)) == fields


def test_a_task_of_ones_own_has_its_help_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine_helped.py").write_text(
        "from hpc_adabatch.tasks import Digits\n\n\nclass Mine(Digits):\n    pass\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    told = printed(capsys, "train", "quickstart", "--task", "mine_helped:Mine", "--help")
    assert flags_in(told) == ["task.label_smoothing", "task.augment"]


def test_a_topic_that_there_is_not() -> None:
    with pytest.raises(InputError, match=r"^help: given global_bach; allowed: all, a section .*--help global_batch$"):
        parse_recipe("train", ["--help", "global_bach"])


def required() -> list[tuple[str, str, str]]:
    """Every field of every class that has no default."""
    return [
        (section, name, field)
        for section, (classes, _) in CHOICES.items()
        for name, kind in classes.items()
        for field, how in inspect.signature(kind).parameters.items()
        if how.kind is how.KEYWORD_ONLY and how.default is how.empty
    ]


@pytest.mark.parametrize(
    ("section", "name", "field"), [*required(), *(("policy", r, "milestones") for r in ("smith", "seesaw"))]
)
def test_what_a_line_says_to_type_for_a_field_without_a_default_is_taken(
    section: str, name: str, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--policy schedule`` alone said: type --policy.text VALUE."""
    monkeypatch.chdir(tmp_path)
    Path("runs/EARLIER").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "journals" / "adabatch.jsonl", "runs/EARLIER/journal.jsonl")
    line = ["quickstart", "--global_batch=null", "--max_global_batch=1000", f"--{section}", name]
    with pytest.raises(InputError) as caught:
        parse_recipe("train", line)
    assert caught.value.field == f"{section}.{field}"
    hint = re.match(r"(--[\w.]+) (\"[^\"]+\"|\S+)", caught.value.hint)
    assert hint is not None
    assert hint[2] != "VALUE"
    batch = [] if name in ("schedule", "replay") else ["--global_batch=16"]
    recipe = parse_recipe("train", [*line, *batch, hint[1], hint[2].strip('"')])[0]
    assert recipe.chosen[section] == name


def test_some_fields_have_no_default() -> None:
    assert {("policy", "schedule", "text"), ("policy", "replay", "journal")} <= set(required())
