"""A wrong input is one line, in this process and in another."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch import InputError
from hpc_adabatch.errors import reading, require
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
        *((1, float, True), (math.nan, float, False), (math.inf, float, False), (None, float, False)),
        *((None, float | None, True), ("a", str | None, True), (1, str | None, False)),
        *(((1, 2), tuple[int, ...], True), ((1, "2"), tuple[int, ...], False), ([1], tuple[int, ...], False)),
        *(({"a": (1,)}, dict[str, tuple[int, ...]], True), ({1: (1,)}, dict[str, tuple[int, ...]], False)),
        *(({"a": 1}, dict[str, Any], True), ([], dict[str, Any], False)),
    ],
)
def test_values_of_a_kind(value: object, kind: Any, good: bool) -> None:
    assert fits(value, kind) is good


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
    with pytest.raises(AssertionError), reading("probe", "a.json", "a probe"):
        raise AssertionError
