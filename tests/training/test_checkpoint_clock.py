"""When a checkpoint is due. What one inside an epoch is good for is tested in run/test_saver.py."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.training import LoopOptions
from hpc_adabatch.training.checkpoint_clock import LONGEST_S, SHORTEST_S, CheckpointClock, daly


def test_dalys_interval_loses_least() -> None:
    """An oracle of its own: the expected time of a run whose failures come at random, by Daly's own model (eq. 20).

    With exponential failures, the mean of M, a segment of W seconds and its checkpoint of c take
    M (exp((W + c) / M) - 1) seconds, those lost included.
    """
    for cost, between in ((0.1, 3600.0), (5.0, 3600.0), (60.0, 86400.0), (300.0, 3600.0), (600.0, 2400.0)):
        w = np.geomspace(cost / 50, 20 * between, 400_001)
        per_second = between * np.expm1((w + cost) / between) / w
        least = float(per_second.min())
        own = daly(cost, between)
        assert between * np.expm1((own + cost) / between) / own <= least * 1.001, (cost, between)
    assert daly(500.0, 200.0) == 200.0


def test_a_checkpoint_is_due_after_so_many_steps_and_no_more_once_it_is_saved() -> None:
    clock = CheckpointClock(None, 5, leads=True)
    assert [clock.number(step) for step in range(1, 7)] == [0, 0, 0, 0, 1, 1]
    clock.hear(clock.number(5))
    assert clock.due
    with clock.saving(5):
        assert clock.due
    assert not clock.due
    assert [clock.number(step) for step in (6, 9, 10)] == [0, 0, 1]


def test_only_rank_0_says_so_and_all_hear_it() -> None:
    clock = CheckpointClock(None, 1, leads=False)
    assert clock.number(1) == 0
    clock.hear(0.0)
    assert not clock.due
    clock.hear(1.0)
    clock.hear(0.0)  # a lengthened step has several messages
    assert clock.due


def test_a_checkpoint_is_due_after_so_many_minutes_and_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = CheckpointClock(2, None, leads=True)
    clock.request = tmp_path / "request"
    now += 119
    assert clock.number(1) == 0
    now += 2
    assert clock.number(2) == 1
    clock.start(2)
    assert clock.number(3) == 0
    clock.request.touch()
    now += 0.5
    assert clock.number(4) == 0  # it looks once a second
    now += 0.6
    assert clock.number(5) == 1


def test_the_interval_follows_cost_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = CheckpointClock("auto", None, leads=True)
    assert clock.interval_s() == SHORTEST_S  # the first tells what one costs
    with clock.saving(1):
        now += 0.5
    assert clock.interval_s() == pytest.approx(daly(0.5, 86400.5))
    clock.failures, clock.ran_s = 11, 3600.0
    assert clock.interval_s() == pytest.approx(daly(0.5, (86400 + 3600.5) / 12))
    with clock.saving(2):
        now += 3.0
    clock.failures = 999
    assert clock.interval_s() == pytest.approx(300.0)  # 1 %, however often the job fails
    clock.failures = 0
    with clock.saving(3):
        now += 100
    assert clock.interval_s() == LONGEST_S
    with clock.saving(4):
        now += 0.001
    clock.wrote(200.0)
    assert clock.interval_s() == 400.0
    assert CheckpointClock(None, None, leads=True).interval_s() == float("inf")


@pytest.mark.parametrize("field", ["checkpoint_minutes", "checkpoint_steps"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "often", True])
def test_intervals_out_of_range_are_one_line(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{field}: given"):
        LoopOptions(**{field: value})  # type: ignore[arg-type]
