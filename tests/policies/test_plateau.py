"""The batch grows where the training loss has stopped to fall."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.policies import Plateau, Progress


def progress(loss: float | None, now: int, factor: float = 1.0, maximum: int = 1000, epoch: int = 1) -> Progress:
    return Progress(
        samples_seen=100 * epoch,
        samples_per_epoch=100,
        start_batch=32,
        global_batch=now,
        max_global_batch=maximum,
        learning_rate_factor=factor,
        epoch_loss=loss,
    )


def follow(
    rule: Plateau, losses: list[float | None], now: int = 32, factor: float = 1.0, maximum: int = 1000
) -> list[tuple[int, float]]:
    """Batch and learning-rate factor after each epoch."""
    held = []
    for epoch, loss in enumerate(losses, start=1):
        proposal = rule.propose(progress(loss, now, factor, maximum, epoch))
        now, factor = proposal.global_batch, proposal.learning_rate_factor
        held.append((now, factor))
    return held


def sizes(rule: Plateau, losses: list[float | None], **how: Any) -> list[int]:
    return [batch for batch, _ in follow(rule, losses, **how)]


def test_it_is_asked_once_an_epoch() -> None:
    assert [Plateau().phase(progress(1.0, 32, epoch=epoch)) for epoch in range(4)] == [0, 1, 2, 3]
    assert not Plateau().foreseeable
    assert not Plateau().measures


def test_a_falling_loss_changes_nothing() -> None:
    assert sizes(Plateau(patience=1), [2.0 * 0.9**epoch for epoch in range(20)]) == [32] * 20


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_the_batch_grows_after_so_many_epochs_without_improvement(patience: int) -> None:
    found = sizes(Plateau(patience=patience), [1.0] * (2 * patience + 1))
    assert found == [32] * patience + [64] * patience + [128]


def test_an_improvement_starts_the_count_again() -> None:
    assert sizes(Plateau(patience=2), [1.0, 1.0, 0.5, 0.5, 0.4, 0.4, 0.4]) == [32, 32, 32, 32, 32, 32, 64]


def test_a_small_improvement_is_none_and_the_best_loss_is_kept() -> None:
    """1 % of the best: 0.995 does not count, and neither do two of them, each better than the last."""
    assert sizes(Plateau(patience=3, threshold=0.01), [1.0, 0.999, 0.995, 0.991]) == [32, 32, 32, 64]
    assert sizes(Plateau(patience=3, threshold=0.0), [1.0, 0.999, 0.995, 0.991]) == [32] * 4


def test_a_loss_that_is_missing_or_no_number_is_no_improvement() -> None:
    assert sizes(Plateau(patience=2), [1.0, None, math.nan, 0.5]) == [32, 32, 64, 64]


def test_at_the_maximum_the_learning_rate_takes_the_rest() -> None:
    found = follow(Plateau(factor=4.0, patience=1), [1.0] * 5, maximum=200)
    assert [batch for batch, _ in found] == [32, 128, 200, 200, 200]
    assert [factor for _, factor in found] == pytest.approx([1, 1, 200 / 512, 200 / 512 / 4, 200 / 512 / 16])


@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=30),
    st.integers(1, 5),
    st.floats(1.5, 8),
    st.integers(32, 2000),
)
def test_batch_over_learning_rate_grows_by_the_factor_and_at_most_once_in_patience_epochs(
    losses: list[float | None], patience: int, factor: float, maximum: int
) -> None:
    held = [(32, 1.0), *follow(Plateau(factor=factor, patience=patience), losses, maximum=maximum)]
    ratios = [batch / rate for batch, rate in held]
    grown = [epoch for epoch in range(len(losses)) if ratios[epoch + 1] != ratios[epoch]]
    for epoch in grown:
        assert ratios[epoch + 1] / ratios[epoch] == pytest.approx(factor, abs=1 / held[epoch][0])  # whole samples
    assert all(later - earlier >= patience for earlier, later in pairwise(grown))
    assert all(batch <= maximum for batch, _ in held)
    assert not grown or grown[0] >= patience


@given(st.integers(0, 12))
def test_its_state_goes_through_a_restart(cut: int) -> None:
    losses: list[float | None] = [1.0, 0.8, 0.8, 0.79, 0.795, 0.5, 0.5, 0.51, 0.5, 0.5, 0.5, 0.49, 0.2]
    undisturbed = follow(Plateau(patience=2), losses)
    first, second = Plateau(patience=2), Plateau(patience=2)
    before = follow(first, losses[:cut])
    second.load_state_dict(first.state_dict())
    now, factor = before[-1] if before else (32, 1.0)
    assert before + follow(second, losses[cut:], now=now, factor=factor) == undisturbed
    assert len({batch for batch, _ in undisturbed}) == 3  # it matters where the cut is


def test_a_negative_loss_that_does_not_fall_is_a_plateau() -> None:
    """Bug story: best * (1 - threshold) lies above a best loss that is negative."""
    assert sizes(Plateau(patience=2), [-1.0, -1.0, -1.005])[-1] == 64
    assert sizes(Plateau(patience=2), [-1.0, -1.0, -1.02])[-1] == 32


def test_a_plateau_of_a_small_batch_adds_a_sample_at_least() -> None:
    """Bug story: growth rounded 5.5 down to 5."""
    assert sizes(Plateau(factor=1.1, patience=1), [1.0] * 4, now=5) == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("factor", value) for value in (1.0, 0.5, math.inf, math.nan)),
        *(("patience", value) for value in (0, -1, math.nan)),
        *(("threshold", value) for value in (-0.1, 1.0, math.nan)),
    ],
)
def test_bad_parameters_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        Plateau(**{field: value})
    assert (caught.value.field, caught.value.given) == (f"policy.{field}", str(value))
