"""Tasks and networks of a user's own, by module:name: as docs/own-task.md has them, and wrong in every way."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hpc_adabatch import command_line
from hpc_adabatch.cli import main
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.build import build_model, load_data
from hpc_adabatch.run.metric import SMALLER
from hpc_adabatch.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = str(ROOT / "recipes" / "quickstart.yaml")
NETWORKS = """
from torch import nn

class Two(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs.flatten(1)), inputs

class Faulty(nn.Linear):
    def forward(self, inputs):
        return super().forward(
            inputs)

def good(data): return nn.Sequential(nn.Flatten(), nn.Linear(64, data.n_classes))
def few(data): return nn.Sequential(nn.Flatten(), nn.Linear(64, data.n_classes - 1))
def wide(data): return Faulty(63, data.n_classes)
def two(data): return Two(64, data.n_classes)
def number(data): return 7
def none(): return nn.Linear(64, 10)
"""
TASKS_OF_THEIRS = """
from dataclasses import dataclass
from hpc_adabatch.errors import require
from hpc_adabatch.tasks import Digits, Task

class Whole: pass

class Half(Task): pass

class Untyped(Digits):
    def __init__(self, root): pass

@dataclass(frozen=True, kw_only=True)
class Few(Digits):
    keep: int = 3
    metric = "distance"
    larger_is_better = False
    def __post_init__(self):
        require(self.keep > 0, "task.keep", self.keep, "1 or more", "--task.keep 3")
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to start in, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    command_line._parser.cache_clear()
    (tmp_path / "theirs.py").write_text(NETWORKS + TASKS_OF_THEIRS, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import os\n\nos.nothing\n", encoding="utf-8")
    (tmp_path / "wrong.py").write_text("def f(:\n", encoding="utf-8")
    (tmp_path / "needs.py").write_text("import not_there\n", encoding="utf-8")
    yield tmp_path
    command_line._parser.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def ended(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


@pytest.mark.long
def test_the_page_runs_as_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "own-task.md").read_text(encoding="utf-8")
    for kind, name in (("python", "ring.py"), ("yaml", "ring.yaml")):
        (code,) = re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)
        Path(name).write_text(code, encoding="utf-8")
    assert ended(["train", "ring.yaml", "--out=runs/ring", "--epochs=2"]) == 0
    config = yaml.safe_load(Path("runs/ring/config.yaml").read_text(encoding="utf-8"))
    assert config["task"] == {"name": "ring:Ring", "samples": 4000, "width": 0.4}
    more = ["--out=runs/ring", "--resume=auto", "--epochs=3"]
    assert ended(["train", "ring.yaml", *more, "--task.width=0.2"]) == 2
    assert "task.width: given 0.2; allowed: 0.4, as in the run that is resumed" in capsys.readouterr().err
    assert ended(["train", "ring.yaml", *more]) == 0
    result = json.loads(Path("runs/ring/result.json").read_text(encoding="utf-8"))
    assert result["metric"]["value"] > 0.85  # 0.6 by chance
    assert result["samples_seen"] == 12_000
    assert ended(["train", "ring.yaml", "--help", "task"]) == 0
    assert re.search(
        r"--task.width WIDTH\s+Width of the ring, whose middle has the radius 0.6", capsys.readouterr().out
    )
    assert ended(["train", "ring.yaml", "--task.width=2"]) == 2
    assert "task.width: given 2.0; allowed: 0 to 1; type --task.width 0.4" in capsys.readouterr().err


def test_a_network_of_theirs_for_a_task_of_ours() -> None:
    recipe, _, _ = parse_recipe("train", [QUICKSTART, "--model", "theirs:good"])
    model = build_model(recipe, load_data(recipe, SingleProcess()), SingleProcess().device)
    assert sum(parameter.numel() for parameter in model.parameters()) == 650


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "theirs:few",
            r"\(returns a tensor \(1, 9\) for 1 sample\(s\) of 10 classes\); allowed: one that takes samples of",
        ),
        ("theirs:two", r"\(returns a tuple for 1 sample\(s\) of 10 classes\)"),
        ("theirs:wide", r"\(.*shapes cannot be multiplied.*; .*theirs\.py, line 10\)"),
        (
            "theirs:number",
            r"\(returns a int\); allowed: a function of the task's data that returns a torch\.nn\.Module",
        ),
        ("theirs:none", r"\(too many positional arguments\); allowed: a function of the task's data"),
        ("theirs:nn", r"\(a module\); allowed: a function of the task's data"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_in_one_line(name: str, said: str) -> None:
    recipe, _, _ = parse_recipe("train", [QUICKSTART, "--model", name])
    with pytest.raises(InputError, match=rf"^model: given {name} {said}"):
        build_model(recipe, load_data(recipe, SingleProcess()), SingleProcess().device)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("theirs:", r"; allowed: module:name, as Python imports them; type --task my_module:MyTask"),
        ("../theirs:Few", r"; allowed: module:name"),
        ("a.yaml", r"; allowed: digits, .*, or module:Class of your own; type --task digits"),
        ("nowhere:Few", r" \(no module nowhere\); allowed: a module that is installed, or lies in "),
        ("theirs.more:Few", r" \(no module theirs\.more\)"),
        ("theirs:Many", r" \(no Many in .*theirs\.py\); allowed: a name that the module has"),
        ("theirs:Whole", r" \(the class Whole\); allowed: a subclass of hpc_adabatch\.tasks\.Task"),
        ("theirs:good", r" \(a function\); allowed: a subclass"),
        ("theirs:Half", r" \(without load\); allowed: a task that has all functions of one"),
        ("theirs:Untyped", r" \(.*root.*\); allowed: a class whose fields have a type"),
        ("broken:Few", r" \(AttributeError: module 'os' has no attribute 'nothing'; .*broken\.py, line 3\)"),
        ("wrong:Few", r" \(SyntaxError: .*; .*wrong\.py, line 1\); allowed: a module that can be imported"),
        ("needs:Few", r" \(ModuleNotFoundError: No module named 'not_there'; .*needs\.py, line 1\)"),
    ],
)
def test_a_task_that_cannot_be_used_is_refused_in_one_line(name: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"^task: given {re.escape(name)}{said}"):
        parse_recipe("train", [QUICKSTART, "--task", name])


def test_the_fields_of_a_task_of_theirs_are_flags(here: Path) -> None:
    recipe, _, text = parse_recipe("train", [QUICKSTART, "--task=theirs:Few", "--task.keep=5"])
    assert recipe.task.keep == 5  # type: ignore[attr-defined]
    assert yaml.safe_load(text)["task"] == {"name": "theirs:Few", "label_smoothing": 0.0, "augment": False, "keep": 5}
    (here / "again.yaml").write_text(text, encoding="utf-8")
    assert parse_recipe("train", [str(here / "again.yaml")])[2] == text
    for flag, said in (("--task.keep=0", "given 0; allowed: 1 or more"), ("--task.keep=x", "given x; allowed: an int")):
        with pytest.raises(InputError, match=rf"^task\.keep: {said}"):
            parse_recipe("train", [QUICKSTART, "--task=theirs:Few", flag])


def test_an_installed_module_is_not_hidden_by_a_file_here(here: Path) -> None:
    (here / "tabnanny.py").write_text("raise SystemExit('carried out')", encoding="utf-8")
    with pytest.raises(InputError, match=r"^task: given tabnanny:Few \(no Few in .*lib.*tabnanny\.py\)"):
        parse_recipe("train", [QUICKSTART, "--task=tabnanny:Few"])


def test_journals_without_a_word_on_it_have_metrics_of_ours() -> None:
    assert {task.metric for task in TASKS.values() if not task.larger_is_better} == set(SMALLER)
