"""Jobs joined into lines and points, and their ratios."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.study.report.lines import (
    Point,
    against_fixed,
    efficiency_factor,
    fixed_counterpart,
    join,
    rate,
    speed_up,
    split,
)
from hpc_adabatch.study.results import CellResult

numbers = st.lists(st.tuples(st.floats(1, 1e4), st.integers(1, 10**7)), min_size=1, max_size=4)


def timed(mode: str, nodes: int, step_s: float | None, batch: int = 1024, state: str = "OK") -> CellResult:
    return CellResult(
        cell=f"{mode}_n{nodes}",
        mode=mode,
        nodes=nodes,
        ranks=nodes,
        variant="",
        repeat=1,
        state=state,
        step_s=step_s,
        global_batch=batch,
    )


def reaching(mode: str, variant: str, nodes: int, seconds: float = 1.0, samples: int = 1) -> CellResult:
    cell = replace(timed(mode, nodes, None), variant=variant, wall_s=seconds, samples_per_s=9.0)
    return replace(cell, reached_wall_s=seconds, reached_samples=samples)


def test_strong_scaling_by_hand() -> None:
    (line,) = join([timed("strong", nodes, step_s) for nodes, step_s in ((1, 0.8), (2, 0.4), (4, 0.25))])
    one, two, four = line.points
    assert speed_up(line, one) is None, "1 by definition, without an interval"
    found = [speed_up(line, point) for point in (two, four)]
    assert [one.value for one in found if one] == pytest.approx([2, 3.2])
    assert efficiency_factor(line, four) == 1 / 4


def test_weak_scaling_counts_samples_as_the_batch_grows() -> None:
    """Twice the batch in the same time is twice the work: steps that stay as long are ideal, not a speed-up of 1."""
    (line,) = join([timed("weak", nodes, 0.5, batch=256 * nodes) for nodes in (2, 4)])
    found = speed_up(line, line.points[1])
    assert found is not None
    assert found.value == pytest.approx(2)
    assert found.value * efficiency_factor(line, line.points[1]) == pytest.approx(1)


def test_points_without_a_job_that_is_ok_give_no_numbers_and_are_no_start() -> None:
    cells = [timed("strong", 1, 0.1, state="FAILED"), timed("strong", 2, 0.4), timed("strong", 4, 0.2)]
    (line,) = join(cells)
    assert [point.nodes for point in line.points] == [1, 2, 4]
    assert speed_up(line, line.points[0]) is None
    found = speed_up(line, line.points[2])
    assert found is not None
    assert found.value == pytest.approx(2), "against two nodes, the fewest that ran"


def test_the_rate_of_a_training_is_its_own_as_its_batch_grows() -> None:
    assert rate(timed("strong", 1, 0.5)) == 2048
    assert rate(replace(timed("adaptive", 1, 0.5), wall_s=10.0, samples_per_s=77.0)) == 77
    assert rate(timed("strong", 1, None)) is None


def test_a_time_of_zero_or_infinity_is_no_number() -> None:
    (line,) = join([timed("strong", 1, 0.0), timed("strong", 1, float("inf")), timed("strong", 1, 1.0)])
    assert line.points[0].values(rate) == [1024]


@given(here=numbers, there=numbers)
def test_time_is_the_learnings_part_over_the_machines(
    here: list[tuple[float, int]], there: list[tuple[float, int]]
) -> None:
    points = [
        Point(nodes=1, cells=tuple(reaching("adaptive", "", 1, seconds, samples) for seconds, samples in jobs))
        for jobs in (here, there)
    ]
    found = split(*points)
    assert found is not None
    assert found.time.value == pytest.approx(found.learning.value / found.machine.value)


@pytest.mark.parametrize(
    ("variant", "others", "chosen"),
    [
        ("big-batch", [("adaptive", "fixed"), ("strong", "")], ("adaptive", "fixed")),
        ("big-batch", [("weak", ""), ("strong", "")], ("strong", "")),
        ("", [("strong", "")], ("strong", "")),
        ("lars+big-batch", [("adaptive", "sgd+fixed"), ("adaptive", "lars+fixed")], ("adaptive", "lars+fixed")),
        ("lars", [("strong", "lars"), ("adaptive", "fixed")], ("strong", "lars")),
        ("sgd+big-batch", [("adaptive", "lars+fixed")], None),
        ("fixed", [("strong", "")], None),
    ],
)
def test_an_adaptive_line_is_held_against_the_fixed_one_most_like_it(
    variant: str, others: list[tuple[str, str]], chosen: tuple[str, str] | None
) -> None:
    lines = join(reaching(mode, label, 2) for mode, label in [("adaptive", variant), *others])
    own = next(line for line in lines if (line.mode, line.variant) == ("adaptive", variant))
    other = fixed_counterpart(own, lines)
    assert (other and (other.mode, other.variant)) == chosen


def test_lines_are_held_against_each_other_where_both_reached_the_target() -> None:
    fixed = [reaching("adaptive", "fixed", nodes, 60 / nodes, 100) for nodes in (1, 2)]
    grown = [reaching("adaptive", "adabatch", nodes, 90 / nodes, 300) for nodes in (2, 4)]
    ((line, other, nodes, found),) = against_fixed(join([*fixed, *grown]))
    assert (line.variant, other.variant, nodes) == ("adabatch", "fixed", 2)
    assert found.time.value == pytest.approx(1.5)
    assert found.learning.value == pytest.approx(3)
    assert found.machine.value == pytest.approx(2)
