"""The scaling model against machines whose columns are known."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from hpc_adabatch.study.scaling.columns import JobTimes, Layout
from hpc_adabatch.study.scaling.identifiability import correlations, shares, statements
from hpc_adabatch.study.scaling.model import ScalingModel
from hpc_adabatch.study.scaling.profile import Profile

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other by name

from prediction_intervals import try_studies  # noqa: E402
from synthetic import Machine, any_machine, layout_of  # noqa: E402

pytestmark = pytest.mark.long

MACHINE = Machine(samples=5e-5, serial=0.004, start=0.003, latency=0.0004, bytes=0.02, tree=0.002)
MODES = ("strong", "weak")


def test_intervals_are_right_in_95_of_100_and_narrower_than_what_any_mixture_leaves_open() -> None:
    """A short form of benchmarks/prediction_intervals.py, whose table is docs/results/prediction-intervals.md."""
    tried = list(try_studies(32, seed=1))
    right = np.mean([place == 0 for one in tried for place in one.place])
    assert 0.9 < right < 0.99  # of 96 predictions, of which 95 % are 91 +- 2
    assert all(1 < width < math.inf for one in tried for width in one.width)
    width, reach = (np.median([getattr(one, name) for one in tried], axis=0) - 1 for name in ("width", "reach"))
    assert width[2] < 0.85 * reach[2], "four times as many nodes"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hides", [False, True])
def test_predictions_have_finite_ends_around_the_median(mode: str, hides: bool) -> None:
    draw = np.random.default_rng(2)
    for _ in range(2):
        machine = any_machine(draw, hides=hides)
        found = ScalingModel(machine.study(mode, (1, 2, 4), 3, draw)).predict(layout_of(mode, 8))
        assert found.low is not None
        assert found.high is not None
        assert 0 < found.low < found.value < found.high < 4 * found.low


def test_the_truth_is_recovered_from_many_nodes_without_spread() -> None:
    machine = replace(MACHINE, spread=1e-6)
    draw = np.random.default_rng(0)
    model = ScalingModel(machine.study("strong", (1, 2, 4, 8, 16, 32, 64), 2, draw))
    found = {share.column: share.seconds for share in shares(model)}
    truth = {
        "samples": 5e-5 * 16,
        "serial": 0.004,
        "start": 0.003,
        "ring latency": 0.0004 * 63,
        "ring bytes": 0.02 * 63 / 64,
        "tree": 0.002 * 6,
    }
    for column, seconds in truth.items():
        assert found[column].value == pytest.approx(seconds, rel=0.01)
        assert (found[column].low or 0) <= seconds <= (found[column].high or 0)
    far = model.predict(layout_of("strong", 256))
    assert far.value == pytest.approx(machine.job(layout_of("strong", 256), draw).step_s, rel=0.01)


def test_step_times_alone_cannot_tell_serial_from_bandwidth() -> None:
    """Two machines, the same steps on 2 and more nodes: only what was measured apart tells them."""
    draw = np.random.default_rng(1)
    jobs = MACHINE.study("strong", (1, 2, 4), 4, draw)
    blind = ScalingModel([JobTimes(layout=job.layout, step_s=job.step_s) for job in jobs])
    seeing = ScalingModel(jobs)
    assert "cannot tell serial from bandwidth" in statements(blind)[0]
    assert not any("serial from bandwidth" in line for line in statements(seeing))

    def width(model: ScalingModel) -> float:
        serial = next(share.seconds for share in shares(model) if share.column == "serial")
        return (serial.high or 0) - (serial.low or 0)

    assert width(blind) > 3 * width(seeing)


def test_what_three_node_counts_cannot_separate_is_said() -> None:
    draw = np.random.default_rng(2)
    few = statements(ScalingModel(MACHINE.study("strong", (1, 2, 4), 5, draw)))
    assert any(line.startswith("nodes 1, 2, 4 cannot tell") and "ring bytes" in line for line in few)
    still = replace(MACHINE, spread=1e-4)
    many = statements(ScalingModel(still.study("strong", (1, 2, 4, 8, 16, 32, 64, 128), 5, draw)))
    assert not any("cannot tell" in line for line in many)
    weak = statements(ScalingModel(MACHINE.study("weak", (1, 2, 4), 5, draw)))
    assert any("samples and serial are one number" in line for line in weak)


def test_columns_that_look_alike_take_turns() -> None:
    machine = Machine(samples=5e-5, serial=0.01, start=0, latency=0.002, bytes=0, tree=0.002)
    model = ScalingModel(machine.study("strong", (1, 8, 10, 12), 4, np.random.default_rng(3)))
    found = {frozenset((one, other)): r for one, other, r in correlations(model)}
    assert min(found.values()) < -0.9
    assert all(-1 - 1e-9 <= r <= 1 + 1e-9 for r in found.values())


def test_without_repeats_there_is_no_interval() -> None:
    model = ScalingModel(MACHINE.study("strong", (1, 2, 4), 1, np.random.default_rng(4)))
    found = model.predict(layout_of("strong", 8))
    assert found.value > 0
    assert found.low is None
    assert any("no intervals" in line for line in statements(model))


def test_what_was_hidden_so_far_may_come_out() -> None:
    """All of the sum hid behind computing on 1, 2 and 4 nodes; on 8 half of it did not, and no interval knew."""
    machine = Machine(samples=5e-5, serial=0, start=0, latency=0.01, bytes=0, tree=0, share=0.05, hidden=0.6)
    draw = np.random.default_rng(5)
    jobs = machine.study("weak", (1, 2, 4), 5, draw)
    truth = machine.job(layout_of("weak", 8), draw).step_s
    found = ScalingModel(jobs).predict(layout_of("weak", 8))
    without = ScalingModel([replace(job, allreduce_s=None) for job in jobs]).predict(layout_of("weak", 8))
    assert found.low is not None and found.high is not None and without.high is not None  # noqa: PT018
    assert found.low <= truth <= found.high
    assert without.high < truth


def test_several_ranks_on_a_node_cost_something_on_one_node_too() -> None:
    draw, jobs = np.random.default_rng(6), []
    for n in (1, 2, 4, 8):
        layout = Layout(nodes=n, ranks=4 * n, local_batch=256 / n)
        for factor in draw.lognormal(0, 0.01, 4):
            communication = 0.01 + 0.03 * (n - 1) / n
            jobs.append(
                JobTimes(layout=layout, step_s=factor * (0.1 / n + communication), communication_s=communication)
            )
    found = {share.column: share.seconds.value for share in shares(ScalingModel(jobs))}
    assert found["within the node"] == pytest.approx(0.01, rel=0.1)


@given(unit=st.floats(1e-3, 1e3), seed=st.integers(0, 20))
@settings(max_examples=6)
def test_the_unit_of_time_does_not_matter(unit: float, seed: int) -> None:
    jobs = MACHINE.study("strong", (1, 2, 4), 3, np.random.default_rng(seed))
    scaled = [
        JobTimes(
            layout=job.layout,
            step_s=unit * job.step_s,
            communication_s=unit * (job.communication_s or 0),
            allreduce_s=None if job.allreduce_s is None else unit * job.allreduce_s,
        )
        for job in jobs
    ]
    here, there = (ScalingModel(each).predict(layout_of("strong", 8)) for each in (jobs, scaled))
    assert there.value == pytest.approx(unit * here.value, rel=1e-3)
    assert there.high == pytest.approx(unit * (here.high or 0), rel=1e-2)


def test_profile_is_students_interval_away_from_the_edge() -> None:
    draw = np.random.default_rng(8)
    rows = draw.uniform(0.5, 2, (40, 3))
    values = rows @ [2.0, 3.0, 4.0] + draw.normal(0, 0.1, 40)
    x, quantile = np.array([1.0, 0.5, 2.0]), float(student.ppf(0.975, 37))
    reach = quantile * 0.1 * np.sqrt(x @ np.linalg.inv(rows.T @ rows) @ x)
    solution = np.linalg.lstsq(rows, values, rcond=None)[0]
    profile = Profile(rows, values, np.full(40, 0.1))
    assert profile.interval(x, quantile) == pytest.approx((x @ solution - reach, x @ solution + reach), rel=1e-3)
    observed = np.hypot(reach, quantile * 0.3)
    found = profile.interval(x, quantile, 0.3)
    assert found == pytest.approx((x @ solution - observed, x @ solution + observed), rel=1e-3)


@given(a=st.floats(0, 10), b=st.floats(0, 10))
@settings(max_examples=30)
def test_profile_reaches_over_all_mixtures_that_fit(a: float, b: float) -> None:
    """Two equal columns: only their sum is known, so each lies between 0 and the sum."""
    total = a + b + 0.1
    profile = Profile(np.array([[1.0, 1.0]]), np.array([total]), np.array([1e-4]))
    low, high = profile.interval(np.array([1.0, 0.0]), 2.0)
    assert low == 0
    assert high == pytest.approx(total, rel=0.02)
    assert profile.interval(np.array([1.0, 1.0]), 2.0) == pytest.approx((total, total), rel=0.02)


def test_profile_knows_nothing_of_a_column_that_no_row_has() -> None:
    profile = Profile(np.array([[1.0, 0.0]]), np.array([1.0]), np.array([0.1]))
    assert profile.interval(np.array([0.0, 1.0]), 2.0) == (0.0, np.inf)
