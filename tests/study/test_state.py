"""Which states wait, are active, are over, and can be tried again."""

from __future__ import annotations

import json

import pytest

from hpc_adabatch.study.state import State

ENDED = {"FAILED", "TIMEOUT", "OOM", "NODE_FAIL", "PREEMPTED", "CANCELLED", "LOST"}


@pytest.mark.parametrize(
    ("group", "states"),
    [
        ("waits", {"PLANNED", "PENDING", "RUNNING"}),
        ("active", {"PENDING", "RUNNING", "STALLED"}),
        ("over", {"OK", *ENDED}),
        ("can_be_retried", ENDED),
    ],
)
def test_groups(group: str, states: set[str]) -> None:
    assert {state.value for state in State if getattr(state, group)} == states


@pytest.mark.parametrize("state", list(State))
def test_a_state_is_written_as_its_word(state: State) -> None:
    assert str(state) == f"{state}" == state.value == state.name
    assert json.loads(json.dumps({state: state})) == {state.value: state.value}
    assert State.of(state.value) is state


def test_a_word_that_is_no_state_is_a_job_that_nobody_knows() -> None:
    assert State.of("ASLEEP") is State.LOST
