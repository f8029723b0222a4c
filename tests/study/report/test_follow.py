"""Runs whose nodes follow their batch in a report: beside those on one node count, and in no curve over nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpc_adabatch.study.report import tables
from hpc_adabatch.study.report.files import write_report
from hpc_adabatch.study.report.findings import summary
from hpc_adabatch.study.report.history import histories
from hpc_adabatch.study.report.lines import against_one_count, join
from hpc_adabatch.study.report.proposal import Proposal, verdicts
from hpc_adabatch.study.results import CellResult

pytestmark = pytest.mark.long


def run(mode: str, nodes: int, repeat: int, seconds: float, node_hours: float, **more: Any) -> CellResult:
    """A training without a target; its time grows by a percent with each repeat."""
    factor = 1 + 0.01 * repeat
    return CellResult(
        cell=f"{mode}_n{nodes:03d}_r{repeat}",
        mode=mode,
        nodes=nodes,
        ranks=4 * nodes,
        variant="",
        repeat=repeat,
        state="OK",
        samples_per_s=1e5 / seconds,
        wall_s=seconds * factor,
        run_node_hours=node_hours * factor,
        wait_s=100.0,
        **more,
    )


def trained(**more: Any) -> list[CellResult]:
    """On one node count the hours are nodes times time; following is near the soonest, and near the cheapest."""
    sizes = {1: 3600.0, 2: 2400.0, 4: 2000.0}
    repeats = (1, 2, 3)
    fixed = [run("adaptive", n, r, s, n * s / 3600, **more) for n, s in sizes.items() for r in repeats]
    return [*fixed, *(replace(run("follow", 1, r, 2200.0, 1.1, **more), wait_s=500.0) for r in repeats)]


def test_it_is_held_against_each_node_count_by_time_and_by_node_hours() -> None:
    found = {one.nodes: one for one in against_one_count(join(trained()))}
    assert list(found) == [1, 2, 4]
    assert [found[n].time.value for n in found] == pytest.approx([2200 / 3600, 2200 / 2400, 2200 / 2000])
    assert [found[n].node_hours.value for n in found] == pytest.approx([1.1, 1.1 / (4 / 3), 1.1 / (20 / 9)])
    waited = [one.with_wait.value for one in found.values() if one.with_wait is not None]
    assert waited == pytest.approx([2744 / 3772, 2744 / 2548, 2744 / 2140], rel=1e-4)
    assert all(one.time.low is not None for one in found.values())


def test_with_a_target_the_fixed_batch_stands_beside_it_and_runs_without_it_are_left_out() -> None:
    results = [replace(one, reached_wall_s=one.wall_s, reached_samples=1000) for one in trained()]
    strong = [replace(one, mode="strong", cell=one.cell.replace("adaptive", "strong")) for one in results[:9]]
    missed = replace(results[0], reached_wall_s=None, wall_s=1e6, run_node_hours=1e6)
    found = list(against_one_count(join([*strong, missed, *results[1:]])))
    assert [(one.other.mode, one.nodes) for one in found] == [
        *(("adaptive", 1), ("adaptive", 2), ("adaptive", 4)),
        *(("strong", 1), ("strong", 2), ("strong", 4)),
    ]
    assert 0.5 < found[0].time.value < 0.7
    assert list(against_one_count(join(strong))) == []
    alone = [replace(one, reached_wall_s=None) for one in results if one.mode == "follow"]
    assert list(against_one_count(join([*strong, *alone]))) == []


def test_the_summary_says_what_it_saves_and_nothing_of_its_scaling() -> None:
    said = [(one.about, one.text) for one in summary(trained(), join(trained()))]
    (text,) = (text for about, text in said if about == "follow against adaptive")
    assert text == (
        "it takes 1.10 (1.08 to 1.12) times the time and 0.495 (0.484 to 0.506) times the node-hours of 4 nodes, the "
        "soonest; and 0.611 (0.598 to 0.625) times the time and 1.10 (1.08 to 1.12) times the node-hours of 1 node, "
        "the cheapest."
    )
    assert "follow" not in [about for about, _ in said]
    assert [one.about for one in verdicts(join(trained()), Proposal(threshold=0.75))] == ["adaptive"]


def test_tables_and_pictures_have_a_place_for_it(tmp_path: Path) -> None:
    results = [replace(one, reached_wall_s=one.wall_s, reached_samples=1000) for one in trained()]
    target = tables.target(join(results))
    assert [row[target.head.index("nodes")] for row in target.rows] == ["1", "2", "4", "from 1 on"]
    assert [row[-1] for row in target.rows] == ["1.02", "1.36", "2.27", "1.12"]

    def journal(cell: CellResult) -> list[dict[str, Any]]:
        start = {"kind": "start", "time_s": 0.0, "metric": "accuracy", "global_batch": 16, "world_size": 4}
        more = {"kind": "resume", "time_s": 50.0, "global_batch": 64, "world_size": 8}
        return [
            start,
            *([more] if cell.mode == "follow" else []),
            {"kind": "evaluation", "time_s": 90.0, "metric": 0.5},
        ]

    table = tables.over_time(histories(results, journal))
    nodes = [row[table.head.index("nodes, from a time on")] for row in table.rows]
    assert nodes == [""] * 9 + ["1 from 0 s, 2 from 50.0 s"] * 3
    page = write_report(tmp_path, {"name": "nodes"}, results, journal).read_text(encoding="utf-8")
    assert "Nodes that follow against one node count" in page
    assert "Scaling in numbers: adaptive" in page
    assert "Scaling in numbers: follow" not in page
