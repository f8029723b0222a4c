"""Big Batch SGD on convex problems: the truth by brute force, claims on hand-made runs, one small launched run."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other by name

from big_batch_claims import (  # noqa: E402
    Run,
    claim_batches,
    claim_gaps,
    claim_noise,
    claim_updates,
    geometric,
    quantiles,
    row,
    table,
)
from big_batch_convex import GRID, PROBLEMS, START_BATCH, Truth, Way, main_ways, setting_ways, train  # noqa: E402

from hpc_adabatch.cluster.single import SingleProcess  # noqa: E402

SAMPLES = 1000  # of the hand-made runs' training set


def run(rule: str, *, rate: float = 1.0, gap: float | None = 1e-3, updates: int = 10, **how: Any) -> Run:
    """A run of four recorded steps."""
    steps = {
        "samples": [0, 100, 300, 1000],
        "touched": [0, 300, 1200, 3000],
        "gap": [8.0, 4.0, 2.0, 1.0],
        "batch": [100, 200, 700, 1000],
        "global_batch": [100, 200, 700, 1000],
        "snr": [1.0, 2.0, 3.0, 99.0],
    }
    asked = {"problem": "ridge", "rule": rule, "rate": rate, "seed": 0, "samples": SAMPLES}
    asked |= {"pieces": 8, "theta": 1.0}
    note = {"asked": asked, "diverged": gap is None, "gap": gap, "updates": updates, "touched": 4000}
    return Run(note | {"steps": steps | how})


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_truth_equals_that_of_explicit_gradients(problem: str) -> None:
    task = PROBLEMS[problem](samples=40, features=5, condition=10, penalty=0.3)
    data = task.load()
    model = task.model("linear", data)
    torch.nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(0))
    gradients = []
    for inputs, target in data.train:
        model.zero_grad()
        task.loss(model(inputs[None]), target[None]).backward()  # type: ignore[no-untyped-call]
        assert model.weight.grad is not None
        gradients.append(model.weight.grad[0].clone())
    each = torch.stack(gradients)  # (samples, features)
    square, variance = Truth(task, model).gradient()
    assert square == pytest.approx(each.mean(dim=0).square().sum().item(), rel=1e-12)
    assert variance == pytest.approx(each.var(dim=0, correction=0).sum().item(), rel=1e-12)


def test_the_true_gap_falls_to_nothing_at_the_optimum() -> None:
    task = PROBLEMS["logistic"](samples=40, features=5, condition=10, penalty=0.3)
    model = task.model("linear", task.load())
    truth = Truth(task, model)
    assert truth.gap() > 0.01
    with torch.no_grad():
        model.weight.copy_(task.minimiser)
    assert abs(truth.gap()) < 1e-15


def test_a_run_tells_where_it_stood_and_what_it_cost() -> None:
    one = run("armijo")
    assert one.at("gap", np.array([0.0, 0.1, 0.2999, 0.3, 1.0, 9.0])).tolist() == [8, 4, 4, 2, 1, 1]
    assert one.snr().tolist() == [1, 2, 3]  # the whole set has no noise
    assert one.snr(ends=False).tolist() == [1, 2]
    assert one.last_snr() == 2.5  # of 1, 2, 3 and 99
    assert one.passes_touched == 4
    assert (one.gap, one.gap_within(4), one.gap_within(3.5), one.gap_within(1.1)) == (1e-3, 1e-3, 1.0, 4.0)
    assert run("sgd", gap=None).gap == run("sgd", gap=None).gap_within(1) == math.inf


def test_means_of_gaps_are_geometric_and_know_infinity() -> None:
    assert geometric([1e-2, 1e-4]) == pytest.approx(1e-3)
    assert geometric([1e-2, math.inf]) == math.inf
    assert geometric([-1e-17]) == pytest.approx(1e-15)  # rounding


def test_batches_that_pass_with_little_signal_are_counted() -> None:
    steps = {"samples": [0, 100, 200, 450], "batch": [100, 100, 250, 550], "global_batch": [100, 100, 250, 250]}
    noisy = run("bb", **steps, snr=[0.3, 0.5, 0.9, 0.1])
    assert noisy.passed(0.4).tolist() == [True, False]  # 0.9 was 0.36 before the batch grew; the last ends the epoch


def test_batches_that_shrink_are_seen() -> None:
    assert claim_batches([run("bb")])[0].startswith("- (a) holds: K shrinks in 0 of 1 runs")
    assert " 0 % of all steps" in claim_batches([run("bb")])[0]
    bad = run("bb", global_batch=[100, 200, 199, 1000])
    assert claim_batches([run("bb"), bad])[0].startswith("- (a) does NOT hold: K shrinks in 1 of 2 runs")


@pytest.mark.parametrize(("low", "high", "holds"), [(0.2, 6.0, True), (0.19, 6.0, False), (0.2, 6.1, False)])
def test_the_band_of_the_signal_to_noise(low: float, high: float, holds: bool) -> None:
    one = run("bb", snr=[low, low, high, high], batch=[1, 1, 1, 1])
    found = claim_noise([run("armijo"), run("fixed"), one, run("sgd", snr=[1, 0.01, 0.01, 0.01])])
    assert quantiles([one])[0] == pytest.approx(low)
    assert [("NOT" not in line) for line in found] == [True, True, holds, True, True]


def test_a_learning_rate_whose_signal_to_noise_stays_up_is_named() -> None:
    low, high = [1, 0.01, 0.01, 0.01], [1.0] * 4
    others = [run("bb"), run("armijo"), run("fixed")]
    best, every = claim_noise([*others, run("sgd", snr=low), run("sgd", rate=2, gap=0.1, snr=high)])[-2:]
    assert best.startswith("- (b) holds for ridge, SGD at its best learning rate, 1: 0.010")
    assert "does NOT hold" in every
    assert every.endswith("0.05 or more at 2.")


@pytest.mark.parametrize(("gap", "holds"), [(1.01e-3, False), (0.99e-3, True)])
def test_a_gap_is_compared_with_the_median_of_sgd(gap: float, holds: bool) -> None:
    grid = [run("sgd", rate=rate, gap=value) for rate, value in ((1, 1e-4), (2, 1e-2), (3, None))]
    searched = [run("armijo", rate=0.01, gap=gap * 100), run("armijo", rate=100, gap=gap / 100), run("bb", gap=1e-5)]
    armijo, bb = claim_gaps([*grid, *searched], 3.5)
    assert ("does NOT hold" not in armijo) is holds
    assert bb.startswith("- (c) holds for ridge, Big Batch, BB: 1.0e-05, SGD's median 1.0e-02: 1000 times better.")
    assert "SGD's best, at 1: 1.0e-04, 10.0 times the gap" in bb
    assert "Search counted, 3.5 passes: 1.0e+00, the median 0.0 times" in bb


def test_updates_are_counted_against_the_run_that_has_most() -> None:
    runs = [run("sgd", updates=7500), run("fixed", updates=751), run("armijo", updates=750), run("armijo", updates=10)]
    fixed, armijo, bb = claim_updates([*runs, run("bb", updates=75)])
    assert "does NOT hold" in fixed
    assert "(d) holds for ridge, Big Batch, Armijo: 10 to 750 updates, SGD 7,500: 10.0 times fewer or more" in armijo
    assert "holds" in bb


def test_every_row_of_the_table_has_every_column() -> None:
    runs = [run(rule) for rule in ("sgd", "fixed", "armijo", "bb")]
    heading, _, *lines = table([*runs, run("sgd", rate=3, gap=None)], 30)
    assert {line.count("|") for line in lines} == {heading.count("|")}
    assert "| ridge | SGD | 3 | diverged | diverged |" in lines[1]
    assert row([run("bb")], 30)["whole set from pass"] == "1 (1 of 1)"


def test_the_ways_are_those_that_the_table_tells() -> None:
    ways = [*main_ways(), *setting_ways()]
    assert len(ways) == len(set(ways))
    for problem in PROBLEMS:
        mine = [way for way in main_ways() if way.problem == problem]
        assert [way.rate for way in mine if way.rule == "sgd"] == list(GRID)
        assert len(GRID) == 7


@pytest.mark.parametrize("rule", ["sgd", "fixed", "armijo", "bb"])
def test_a_run_counts_what_it_touches(rule: Any) -> None:
    found = train(Way(problem="ridge", rule=rule, rate=0.1), 0, 200, 2, SingleProcess())
    assert found["samples"] == 400
    assert not found["diverged"]
    steps = found["steps"]
    assert steps["batch"][0] >= START_BATCH
    gradients = 800 if rule == "bb" else 400
    assert found["touched"] == gradients if rule in ("sgd", "fixed") else found["touched"] > gradients
    assert sum(steps["batch"]) == 400
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_sgd_that_diverges_is_left_and_has_no_gap() -> None:
    found = train(Way(problem="ridge", rule="sgd", rate=30.0), 0, 400, 50, SingleProcess())
    assert found["diverged"]
    assert found["samples"] < 50 * 400


@pytest.mark.launch
def test_two_ranks_write_the_table_and_do_not_train_again(launch: Any, tmp_path: Path) -> None:
    asked = ("--samples", 200, "--passes", 2, "--seeds", 1, "--out", tmp_path / "out")
    program = ("benchmarks/big_batch_convex.py", *asked, "--write", tmp_path / "table.md")
    first = launch(*program, timeout_s=240).stdout
    ways = len([*main_ways(), *setting_ways()])
    assert first.count(" updates, ") >= ways
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert str(ROOT) not in text
    assert text.count("| ridge |") == text.count("| logistic |") == ways // 2 + 2
    assert "- (c) " in text
    assert (tmp_path / "table.png").stat().st_size < 150_000
    again = launch(*program, timeout_s=240).stdout
    assert "gap 0" not in again.split("| problem")[0]
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == text
