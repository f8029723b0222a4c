"""The summary in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpc_adabatch.study.report.findings import last_worth_it, summary
from hpc_adabatch.study.report.lines import join
from hpc_adabatch.study.results import CellResult


def timed(nodes: int, step_s: float, repeat: int = 1) -> CellResult:
    return CellResult(
        cell=f"strong_n{nodes}_r{repeat}",
        mode="strong",
        nodes=nodes,
        ranks=nodes,
        variant="",
        repeat=repeat,
        state="OK",
        step_s=step_s,
        global_batch=64,
    )


def said(results: list[CellResult]) -> list[str]:
    return [f"{one.about}: {one.text}" for one in summary(results, join(results))]


def test_the_largest_count_above_half_is_found_even_beyond_a_worse_one() -> None:
    times = {1: 1.0, 2: 0.6, 4: 0.51, 8: 0.2, 16: 0.13}  # efficiencies 83 %, 49 %, 62.5 %, 48 %
    results = [timed(nodes, step_s) for nodes, step_s in times.items()]
    (line,) = join(results)
    point = last_worth_it(line)
    assert point is not None
    assert point.nodes == 8
    assert (
        "above 50 % up to 8 nodes (no larger count), where it is 62.5 % and the samples/s are 5.00 times"
        in said(results)[1]
    )


def test_no_count_above_half() -> None:
    assert "no node count above 1 has an efficiency above 50 %" in said([timed(1, 1.0), timed(2, 1.1)])[1]


def test_an_interval_that_reaches_half_is_said_to() -> None:
    wild = [timed(1, 1.0, 1), timed(1, 1.3, 2), timed(1, 0.8, 3)] + [timed(4, 0.46 + 0.01 * i, i) for i in range(3)]
    assert "that may be chance" in said(wild)[1]
    calm = [timed(1, 1.0, i) for i in range(3)] + [timed(4, 0.3 + 0.001 * i, i) for i in range(3)]
    assert "chance" not in said(calm)[1]
    assert "83.1 (82.4 to 83.7) %" in said(calm)[1]


def test_one_node_count_says_nothing_of_scaling() -> None:
    assert "only 4 nodes gave numbers" in said([timed(4, 1.0)])[1]


def test_the_parts_of_a_step_are_told_largest_first() -> None:
    cell = replace(timed(2, 1.0), compute_s=0.2, exposed_s=0.75, straggler_s=0.05, data_s=0.001)
    text = said([cell])[1]
    assert "exposed communication 75 %, compute 20 %, straggler 5 % and data under 1 %" in text


def test_states_failures_and_repeats(results: list[CellResult]) -> None:
    first, *others = said(results)
    assert first.startswith("Cells: 43 OK, 1 PENDING, 1 FAILED, 1 TIMEOUT, 1 OOM and 1 NODE_FAIL, of 48.")
    assert "node-hours were used" in first
    assert any("runs that ended without reaching the target: 1 of 3 on 2 nodes." in text for text in others)
    assert "strong on 8 nodes (2 OK); weak on 4 nodes (2 OK)" in others[-1]
    assert sum(text.startswith("adaptive, big-batch against adaptive, fixed: on 8 nodes") for text in others) == 1


def test_adaptive_against_fixed_tells_both_parts(results: list[CellResult]) -> None:
    text = next(text for text in said(results) if " against " in text)
    parts = ("is reached in ", "machine's part of that: ", "learning's part: ")
    time, machine, learning = (float(text.partition(part)[2].split(" ")[0]) for part in parts)
    assert time == pytest.approx(learning / machine, rel=0.01)


def test_nothing_and_nothing_but_failures() -> None:
    assert said([]) == ["Cells: The study has none yet: there is nothing to report."]
    failed = [replace(timed(1, 1.0), state="OOM"), replace(timed(2, 1.0), state="PENDING")]
    assert said(failed)[0] == "Cells: 1 PENDING and 1 OOM, of 2."
    assert "No cell is OK" in said(failed)[1]
