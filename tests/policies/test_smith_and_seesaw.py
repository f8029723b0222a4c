"""A batch that grows where the learning rate would decay keeps the noise of the update going as the decay would."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.policies import Progress, Proposal, Seesaw, Smith

RULES = [(Smith, 1.0), (Seesaw, 0.5)]


def at(rule: Smith, epoch: float, start: int = 128, maximum: int = 10**9) -> Proposal:
    return rule.propose(
        Progress(
            samples_seen=round(epoch * 1000),
            samples_per_epoch=1000,
            start_batch=start,
            global_batch=start,
            max_global_batch=maximum,
        )
    )


def test_the_papers_growth() -> None:
    rule = Smith(milestones=(60, 120, 160), decay=0.2)
    assert [at(rule, epoch).global_batch for epoch in (59.9, 60, 119, 120, 200)] == [128, 640, 640, 3200, 16000]
    assert at(rule, 200).learning_rate_factor == 1.0


def test_seesaw_doubles_and_divides_by_the_root_of_two() -> None:
    proposal = at(Seesaw(milestones=(10, 20)), 25)
    assert proposal.global_batch == 4 * 128
    assert proposal.learning_rate_factor == pytest.approx(0.5)


@pytest.mark.parametrize(("kind", "power"), RULES)
@given(
    milestones=st.lists(st.integers(1, 90), min_size=1, max_size=5, unique=True).map(sorted),
    divisor=st.integers(2, 10),
    start=st.integers(1, 1000),
    room=st.floats(1, 1000),
)
def test_the_noise_of_the_update_falls_as_with_the_decay_also_where_growth_is_cut(
    kind: Any, power: float, milestones: list[int], divisor: int, start: int, room: float
) -> None:
    rule = kind(milestones=tuple(milestones), decay=1 / divisor)
    for passed, epoch in enumerate([0, *milestones]):
        found = at(rule, epoch, start, int(start * room))
        noise = found.learning_rate_factor / (found.global_batch / start) ** power
        assert math.isclose(noise, divisor**-passed, rel_tol=1e-9)


@pytest.mark.parametrize("kind", [Smith, Seesaw])
@pytest.mark.parametrize("decay", [0.5, 0.7, 0.1])
def test_a_cosine_is_followed_where_it_falls_by_the_decay(kind: Any, decay: float) -> None:
    rule = kind(cosine=90.0, decay=decay)
    heights = [(1 + math.cos(math.pi * epoch / 90)) / 2 for epoch in rule.whens]
    assert heights == pytest.approx([decay ** (n + 1) for n in range(len(heights))], rel=1e-9)
    assert heights[-1] * (1 + 1e-9) >= 0.01
    assert heights[-1] * decay < 0.01
    assert at(rule, 90).learning_rate_factor == pytest.approx(rule.lr_factor ** len(heights))


@pytest.mark.parametrize("kind", [Smith, Seesaw])
@pytest.mark.parametrize(
    ("field", "given_"),
    [
        ("milestones", {}),
        ("milestones", {"milestones": (5,), "cosine": 10.0}),
        ("cosine", {"cosine": 0.0}),
        ("decay", {"cosine": 9.0, "decay": 0.001}),
        ("milestones", {"milestones": (30, 20)}),
        ("milestones", {"milestones": (0, 20)}),
        ("decay", {"milestones": (5,), "decay": 1.0}),
        ("decay", {"milestones": (5,), "decay": 0.0}),
    ],
)
def test_bad_parameters_are_refused(kind: Any, field: str, given_: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"policy\.{field}: given"):
        kind(**given_)
