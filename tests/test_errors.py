"""A wrong input is one line, in this process and in another."""

from __future__ import annotations

import ast
import copy
import json
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch import InputError, errors
from hpc_adabatch.errors import StorageError, advice, reading, real, require, whole
from hpc_adabatch.records import fits

FIELDS = ("field", "given", "allowed", "hint", "shared")


def test_the_line_says_what_was_given_what_is_allowed_and_what_to_type() -> None:
    error = InputError("policy.factor", 0.5, "1 or more", "--policy.factor 2")
    assert str(error) == "policy.factor: given 0.5; allowed: 1 or more; type --policy.factor 2"
    assert str(InputError("seed", -1, "0 or more")) == "seed: given -1; allowed: 0 or more"


@given(st.text(), st.text(), st.text(), st.text())
def test_it_prints_one_line_whatever_it_is_given(field: str, given_text: str, allowed: str, hint: str) -> None:
    line = str(InputError(field, given_text, allowed, hint))
    assert line.isprintable()
    line.encode()


IN_A_SCRIPT = {
    "--global_batch 64": "global_batch=64",
    "--clip_norm null": "clip_norm=None",
    "--split_passes true": "split_passes=True",
    "--optimizer.weight_decay 5e-4": "weight_decay=5e-4",
    "--learning_rate.warmup legw": 'warmup="legw"',
    "--policy.milestones [30,60,80]": "milestones=(30, 60, 80)",
    '--policy.text "0:128 20ep:256"': 'text="0:128 20ep:256"',
    "--policy.warmup_epochs 0 --policy.baseline_batch null": "warmup_epochs=0, baseline_batch=None",
    "--policy big_batch": "policy=BigBatch()",
    "--optimizer lars": "optimizer=LARS(...)",
    "--out DIR, to start anew, or first: rm x": "folder=DIR, to start anew, or first: rm x",
    "another --out, to start anew": "another folder, to start anew",
    "--resume auto, which leaves damaged lines out": "the same command again, which leaves damaged lines out",
    "--engine torch, or srun --mpi=pmix": 'engine="torch", or srun --mpi=pmix',
    "sbatch --test-only x --bind-to none": "sbatch --test-only x --bind-to none",
    "./launch/install": "./launch/install",
}


@pytest.mark.usefixtures("in_a_script")
def test_a_script_is_told_keywords_instead_of_flags() -> None:
    assert {flags: advice(flags) for flags in IN_A_SCRIPT} == IN_A_SCRIPT
    told = {
        "seed: given -1; allowed: 0 or more; write seed=0": InputError("seed", -1, "0 or more", "--seed 0"),
        "folder: given x; allowed: y; write folder=DIR": InputError("out", "x", "y", "--out DIR"),
        "a: given b; allowed: c, or None; type ./launch/install": InputError(
            "a", "b", "c, or null", "./launch/install"
        ),
        "a: given b; allowed: True or False; type the same command again": InputError(
            "a", "b", "true or false", "--resume auto"
        ),
    }
    assert [str(error) for error in told.values()] == list(told)


def test_under_the_command_flags_stay_flags() -> None:
    assert [advice(flags) for flags in IN_A_SCRIPT] == list(IN_A_SCRIPT)


REACHED = ["batches", "cluster", "gradients", "learning_rate", "optim", "policies", "training", "replay.py", "run"]
OF_COMMANDS = ("branches.py", "evaluation.py", "forecast.py", "noise.py", "preview.py", "recipe_run.py", "target.py")


@pytest.mark.usefixtures("in_a_script")
def test_no_words_that_a_script_may_be_told_keep_a_flag() -> None:
    """All literals of the modules that scripts reach, with x in the place of what is filled in."""
    package = Path(errors.__file__).parent
    paths = [path for name in REACHED for path in ([package / name] if "." in name else (package / name).rglob("*.py"))]
    found = {}
    for path in paths:
        if path.name in OF_COMMANDS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        parts |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                words = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                words = node.value
            else:
                continue
            if re.match(r"--[a-z]", words):
                found[words] = advice(words)
    assert len(found) > 60
    assert {flags: words for flags, words in found.items() if "--" in words.replace("srun --mpi=pmix", "")} == {}


def test_newlines_and_indents_become_blanks() -> None:
    assert str(InputError("model", "a\r\n\t b", "c\n\nd")) == "model: given a b; allowed: c d"


def test_what_would_move_or_colour_a_terminal_is_shown_as_its_number() -> None:
    """Names come from files: they shall not hide in the line, nor be bytes that no terminal can show."""
    line = str(InputError("model", "\x1b[31ma\x00\u202e\udcff\xe4", "c"))
    assert line == "model: given \\x1b[31ma\\x00\\u202e\\udcff\xe4; allowed: c"


@given(st.text(), st.text(), st.text(), st.text(), st.booleans())
def test_it_survives_the_way_to_another_process(field: str, value: str, allowed: str, hint: str, shared: bool) -> None:
    error = InputError(field, value, allowed, hint)
    error.shared = shared
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is InputError
        assert str(twin) == str(error)
        assert [getattr(twin, name) for name in FIELDS] == [getattr(error, name) for name in FIELDS]


def test_it_is_a_value_error_that_one_rank_raises() -> None:
    error = InputError("seed", -1, "0 or more")
    assert isinstance(error, ValueError)
    assert not error.shared
    assert error.given == "-1"


def test_require_raises_unless_the_condition_holds() -> None:
    require(True, "seed", 0, "0 or more")
    with pytest.raises(InputError, match=r"^seed: given -1; allowed: 0 or more; type --seed 0$"):
        require(False, "seed", -1, "0 or more", "--seed 0")


@pytest.mark.parametrize(
    ("value", "kind", "good"),
    [
        *((1, int, True), (True, int, False), (1.0, int, False), ("1", int, False)),
        *((10**400, int, True), (10**400, float, False), (-(10**400), float, False)),
        *((1, float, True), (math.nan, float, False), (math.inf, float, False), (None, float, False)),
        *((None, float | None, True), ("a", str | None, True), (1, str | None, False)),
        *(((1, 2), tuple[int, ...], True), ((1, "2"), tuple[int, ...], False), ([1], tuple[int, ...], False)),
        *(({"a": (1,)}, dict[str, tuple[int, ...]], True), ({1: (1,)}, dict[str, tuple[int, ...]], False)),
        *(({"a": 1}, dict[str, Any], True), ([], dict[str, Any], False)),
    ],
)
def test_values_of_a_kind(value: object, kind: Any, good: bool) -> None:
    assert fits(value, kind) is good


def test_whole_numbers_too_large_for_a_float_are_infinite() -> None:
    """Bug story: one in owner.json, or given by a script, was a traceback."""
    assert (real(10**400), real(-(10**400)), whole(10**400)) == (math.inf, -math.inf, 10**400)


def test_what_goes_wrong_while_reading_is_one_line_and_the_rest_is_a_fault(tmp_path: Path) -> None:
    def use(work: Callable[[], object]) -> str:
        with pytest.raises(InputError) as told, reading("probe", "a.json", "a probe", "adabatch probe"):
            work()
        return str(told.value)

    line = "probe: given a.json ({}); allowed: a probe; type adabatch probe"
    assert use(lambda: (tmp_path / "none").read_text(encoding="utf-8")) == line.format("FileNotFoundError")
    assert use(lambda: {}["steps"]) == line.format("without steps")
    assert use(lambda: json.loads("[" * 10**5)) == line.format("RecursionError")
    assert use(lambda: json.loads("{")) == line.format("JSONDecodeError")
    assert use(lambda: require(condition=False, field="x", given=1, allowed="2")) == "x: given 1; allowed: 2"
    with pytest.raises(StorageError, match=r"^a\.json is full$"), reading("probe", "a.json", "a probe"):
        raise StorageError("a.json is full")
    with pytest.raises(AssertionError), reading("probe", "a.json", "a probe"):
        raise AssertionError
