"""Where a run stands, from its journal line by line."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hpc_adabatch.policies import POLICIES
from hpc_adabatch.run.growth import growth
from hpc_adabatch.run.report.account import account
from hpc_adabatch.run.watch.panel import event, line, panel, rows, title
from hpc_adabatch.run.watch.position import WINDOW_S, Position
from hpc_adabatch.training.journal import read

JOURNALS = Path(__file__).resolve().parents[2] / "journals"
START = {
    **{"kind": "start", "step": 0, "cursor": 0, "epoch": 0, "time_s": 0.0, "name": "mine", "task": "digits"},
    **{"policy": "adabatch", "optimizer": "sgd", "model": "small_cnn", "metric": "accuracy", "epochs": 10},
    **{"samples_per_epoch": 1000, "world_size": 2, "nodes": 1, "global_batch": 10, "micro_batch": 5, "passes": 1},
    **{"learning_rate": 0.5, "max_global_batch": 100},
}


def at(kind: str, cursor: int, time_s: float, **fields: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "step": cursor // 10,
        "cursor": cursor,
        "epoch": (cursor - 1) // 1000,
        "time_s": time_s,
        **fields,
    }


def step(cursor: int, time_s: float, **fields: Any) -> dict[str, Any]:
    return at("statistics", cursor, time_s, loss=1.0, global_batch=10, learning_rate=0.5, **fields)


def after(*records: dict[str, Any]) -> Position:
    position = Position(START)
    for record in records:
        position.take(record)
    return position


@pytest.mark.parametrize("rule", sorted(POLICIES))
def test_at_the_end_it_is_what_the_report_says(rule: str, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes((JOURNALS / f"{rule}.jsonl").read_bytes())
    run, (start, *others) = account(tmp_path), read(tmp_path / "journal.jsonl")
    position = Position(start)
    for record in others:
        position.take(record)
        assert 0 <= position.progress <= 1
        assert position.left_s is None or position.left_s >= 0
        for text in (line(position), event(position) or "", *(part for row in rows(position) for part in row)):
            assert "None" not in text
            assert "nan" not in text
    assert position.is_over
    assert position.left_s is None
    assert position.progress == pytest.approx(1.0)
    assert position.best == run.best
    assert position.evaluation == run.metrics[-1]
    batches = [batch for _, batch in growth(run.records)]
    if position.change is not None and position.change.record["cursor"] < run.records[-1]["cursor"]:
        assert (position.change.before, position.change.record["global_batch"]) == tuple(batches[-2:])


def test_speed_leaves_out_evaluations_and_restarts() -> None:
    training = step(100, 1.0), step(200, 2.0), step(600, 4.0)  # 500 samples in 3 s
    evaluated = at("evaluation", 1000, 100.0, loss=1.0, metric=0.5)
    assert after(*training).samples_per_s == pytest.approx(500 / 3)
    assert after(*training, evaluated, step(1100, 101.0)).samples_per_s == pytest.approx(500 / 3)
    resumed = at("resume", 600, 500.0, world_size=4, global_batch=10, micro_batch=5, passes=1, learning_rate=0.5)
    assert after(*training, resumed, step(700, 501.0), step(800, 502.0)).samples_per_s == pytest.approx(600 / 4)
    assert after(step(100, 1.0)).samples_per_s is None


def test_time_left_goes_by_the_pace_of_the_last_ten_minutes() -> None:
    slow = [step(cursor, cursor * 1.0) for cursor in range(100, 2001, 100)]  # a second each, then ten of them
    fast = [step(2000 + 100 * n, 2000.0 + 10 * n) for n in range(1, 71)]  # 700 s
    assert after(*slow).left_s == pytest.approx(8000.0)
    now = after(*slow, *fast)
    assert now.last["time_s"] - 2000 > WINDOW_S
    assert now.left_s == pytest.approx(1000 / 10)


def test_steps_of_milliseconds_take_no_memory() -> None:
    position = Position({**START, "epochs": 1000})
    for n in range(1, 400_000, 4):
        position.take(step(n, n / 500))
    kept = [len(value) for value in vars(position).values() if isinstance(value, deque)]
    assert max(kept) < 2 * WINDOW_S
    assert position.samples_per_s == pytest.approx(500, rel=0.02)  # a step in 250 crosses epochs
    assert position.left_s == pytest.approx((1_000_000 - n) / 500)


def test_evaluations_count_as_time_that_is_left() -> None:
    epoch = step(1000, 10.0), at("evaluation", 1000, 20.0, loss=1.0, metric=0.5)
    assert after(*epoch).left_s == pytest.approx(9 * 20.0)


def test_a_restart_begins_the_pace_anew_and_may_change_the_epochs() -> None:
    holding = {"global_batch": 20, "micro_batch": 5, "passes": 2, "learning_rate": 0.5}
    resumed = at("resume", 2000, 9000.0, world_size=4, nodes=3, changed={"epochs": [10, 20]}, **holding)
    position = after(step(1000, 1000.0), step(2000, 9000.0), resumed)
    assert title(position).endswith("; 4 ranks on 3 nodes")
    assert (position.epochs, position.restarts, position.left_s) == (20.0, 1, None)
    assert position.change is not None
    assert position.change.before == 10
    position.take(step(3000, 9010.0))
    assert position.left_s == pytest.approx(170.0)


def test_the_clock_of_the_schedule_tells_what_is_done() -> None:
    position = after(step(4000, 10.0, clock=1.5))
    assert (position.done, position.progress) == (1.5, 0.15)


def test_the_best_metric_is_the_smallest_where_smaller_is_better() -> None:
    position = Position({**START, "metric": "perplexity", "larger_is_better": False})
    for n, metric in enumerate((30.0, 20.0, None, 25.0), 1):
        position.take(at("evaluation", 1000 * n, 10.0 * n, loss=1.0, metric=metric))
    assert position.best is not None
    assert position.evaluation is not None
    assert (position.best["metric"], position.evaluation["metric"]) == (20.0, 25.0)


def test_a_panel_says_what_the_journal_says() -> None:
    said = {"reason": "noise scale [80] (60 to inf)", "micro_batch": 5, "passes": 2, "learning_rate": 0.25}
    noise = at("noise", 1500, 14.0, noise_scale=80.0, low=60.0, high=None)
    position = after(
        *(step(500, 5.0), step(900, 9.0), at("evaluation", 1000, 10.0, loss=1.0, metric=0.75), step(1400, 14.0)),
        *(noise, at("decision", 1500, 15.0, global_batch=20, **said), at("skipped", 1600, 16.0, reason="not finite")),
        at("decision", 1700, 17.0, global_batch=20, **{**said, "reason": "as before"}),
    )
    console = Console(width=120, record=True, markup=False)
    console.print(panel(position, ("last news", "2.0 s ago")))
    lines = [" ".join(text.split()) for text in console.export_text().splitlines()]
    assert lines[0].startswith("17 % of the run")
    assert lines[1:] == [
        "epoch 1.70 of 10; about 1 min 23 s left",
        "global batch 20, 2 passes of at most 5 on each rank; maximum 100",
        "learning rate 0.25",
        "noise scale 80.0 (95 %: 60.0 to no end)",
        "training loss 1.0000",
        "test accuracy 0.7500 in epoch 1",
        "samples/s 100",
        "last change 10 to 20 at epoch 1.50: noise scale [80] (60 to inf)",
        "last decision at epoch 1.70: as before",
        "skipped updates 1",
        "last news 2.0 s ago",
    ]


def test_journals_of_the_first_releases_are_read_too() -> None:
    oldest = {name: value for name, value in START.items() if name not in ("nodes", "max_global_batch")}
    assert "about" not in line(Position(oldest))
    assert rows(Position(oldest))[1] == ("global batch", "10, 1 pass of at most 5 on each rank")
