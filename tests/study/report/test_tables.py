"""Tables: every number stands in the right row with its unit, intervals only where they are due."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_ind

from hpc_adabatch.study.report import tables
from hpc_adabatch.study.report.history import histories
from hpc_adabatch.study.report.lines import join
from hpc_adabatch.study.report.tables import Table, markdown
from hpc_adabatch.study.results import CellResult

UNITS = re.compile(r", (?:ms|s|%|times|thousands|samples|OK of all|reached of trained)$|samples/s|times the|-hours")
COUNTED = {"nodes", "over nodes", "ranks", "cells", "attempts", "updates"}  # numbers of things named in the head
NAMED = {"metric at the end", "best metric", "last metric"}  # the metric's name stands beside each number


def every(results: list[CellResult], journal: object = None) -> list[Table]:
    lines = join(results)
    by_mode = [tables.scaling([line for line in lines if line.mode == mode]) for mode in ("strong", "weak", "adaptive")]
    ratios = [tables.target(lines), tables.target_ratios(lines), tables.adaptive_against_fixed(lines)]
    over_time = tables.over_time(histories(results, journal))  # type: ignore[arg-type]
    return [*by_mode, tables.breakdown(lines), *ratios, over_time, tables.states(results), tables.cells(results)]


def column(table: Table, name: str) -> list[str]:
    return [row[table.head.index(name)] for row in table.rows]


def test_no_number_without_its_unit(results: list[CellResult], journal: object) -> None:
    for table in every(results, journal):
        for index, name in enumerate(table.head):
            assert table.is_words(index) or name in COUNTED | NAMED or UNITS.search(name), name


def test_efficiency_and_its_interval_by_scipy(results: list[CellResult]) -> None:
    table = tables.scaling([line for line in join(results) if line.mode == "weak"])
    steps = {n: [cell.step_s for cell in results if (cell.mode, cell.nodes) == ("weak", n)] for n in (1, 8)}
    one, eight = (np.log(np.array(steps[nodes], dtype=float)) for nodes in (1, 8))
    bounds = ttest_ind(one, eight, equal_var=False).confidence_interval(0.95)
    expected = [100 * math.exp(value) for value in (one.mean() - eight.mean(), bounds.low, bounds.high)]
    found = [float(text) for text in re.findall(r"[\d.]+", column(table, "efficiency, %")[3])]
    assert found == pytest.approx(expected, rel=6e-4)


def test_a_failed_repeat_takes_the_interval_and_stays_in_count(results: list[CellResult]) -> None:
    table = tables.scaling([line for line in join(results) if line.mode == "strong"])
    assert column(table, "repeats, OK of all") == ["3 of 3", "3 of 3", "3 of 3", "2 of 3"]
    assert ["(" in text for text in column(table, "speed-up, times")] == [False, True, True, False]
    hours = sum(cell.node_hours or 0 for cell in results if (cell.mode, cell.nodes) == ("strong", 8))
    assert float(column(table, "node-hours")[3]) == pytest.approx(hours, rel=1e-3), "those of the failed one too"


def test_no_interval_under_three_repeats(few: list[CellResult]) -> None:
    spreads = {"step time, ms", "updates"}  # least and greatest of the jobs, not intervals
    for table in every(few)[:7]:
        for name in set(table.head) - spreads:
            assert not [text for text in column(table, name) if "(" in text], name


def test_the_parts_of_a_step_add_up(results: list[CellResult]) -> None:
    table = tables.breakdown(join(results))
    assert len(table.rows) == 8, "four node counts, strong and weak; trainings have no parts"
    for row in table.rows:
        shares = [float(text) for name, text in zip(table.head, row, strict=True) if name.endswith(", %")]
        assert sum(shares) == pytest.approx(100, abs=0.2)
    whole = [cell.step_s or 0 for cell in results if (cell.mode, cell.nodes) == ("strong", 1)]
    parts = [float(text) for name, text in zip(table.head, table.rows[0], strict=True) if name.endswith(", ms")][:4]
    assert sum(parts) == pytest.approx(1000 * sum(whole) / 3, rel=5e-3)


def test_time_to_target_is_made_of_its_parts(results: list[CellResult]) -> None:
    table = tables.target(join(results))
    names = ("time to target, s", "samples needed, thousands", "samples/s until there")
    for seconds, thousands, speed in zip(*(column(table, name) for name in names), strict=True):
        first = [float(text.split(" ")[0].replace(",", "")) for text in (seconds, thousands, speed)]
        assert first[0] == pytest.approx(1000 * first[1] / first[2], rel=0.01)
    assert column(table, "repeats, reached of trained")[1] == "2 of 3"


def test_every_cell_is_kept_with_its_reason(results: list[CellResult]) -> None:
    table = tables.cells(results)
    assert column(table, "cell") == [cell.cell for cell in results]
    reasons = dict(zip(column(table, "cell"), column(table, "reason"), strict=True))
    assert reasons["adaptive_n008_fixed_r2"] == "time limit of 00:40:00"
    assert dict(tables.states(results).rows) == {
        "OK": "43",
        "PENDING": "1",
        "FAILED": "1",
        "TIMEOUT": "1",
        "OOM": "1",
        "NODE_FAIL": "1",
    }


def test_markdown_keeps_its_columns_whatever_the_names(results: list[CellResult]) -> None:
    evil = "a|b `c`\n<td>**d** \\| [e](f)"
    text = markdown(tables.cells([replace(results[0], cell=evil, reason=evil, state="FAILED")]))
    lines = text.splitlines()
    assert len(lines) == 3
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines} == {len(tables.cells(results[:1]).head) + 2}
    assert "\\<td\\>" in lines[2]
