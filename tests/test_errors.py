"""A wrong input is one line, in this process and in another."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch import InputError
from hpc_adabatch.errors import require

FIELDS = ("field", "given", "allowed", "hint", "shared")


def test_the_line_says_what_was_given_what_is_allowed_and_what_to_type() -> None:
    error = InputError("policy.factor", 0.5, "1 or more", "--policy.factor 2")
    assert str(error) == "policy.factor: given 0.5; allowed: 1 or more; type --policy.factor 2"
    assert str(InputError("seed", -1, "0 or more")) == "seed: given -1; allowed: 0 or more"


@given(st.text(), st.text(), st.text(), st.text())
def test_it_prints_one_line_whatever_it_is_given(field: str, given_text: str, allowed: str, hint: str) -> None:
    assert len(str(InputError(field, given_text, allowed, hint)).splitlines()) == 1


def test_newlines_and_indents_become_blanks() -> None:
    assert str(InputError("model", "a\r\n\t b", "c\n\nd")) == "model: given a b; allowed: c d"


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
