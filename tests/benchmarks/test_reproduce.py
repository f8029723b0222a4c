"""The papers' experiments: their flags fit the command line, claims can fail, and a page shows what is missing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "benchmarks" / "reproduce"), str(ROOT / "benchmarks")]  # scripts: they import by name

from outcome import Outcome, Point  # noqa: E402
from page import Line, table_lines  # noqa: E402
from study import Row, Study, behind, within  # noqa: E402

from hpc_adabatch.command_line import parse_recipe  # noqa: E402

pytestmark = pytest.mark.long

NAMES = [
    *("adabatch", "lars", "lars-plain", "legw-rows", "legw-rows-plain", "legw-text"),
    *("big-batch", "big-batch-plain", "big-batch-digits"),
]


@pytest.fixture(scope="module")
def studies() -> dict[str, Study]:
    """By name, from the script that runs them."""
    import runpy

    found: dict[str, Study] = runpy.run_path(str(ROOT / "benchmarks" / "reproduce" / "__main__.py"))["STUDIES"]
    return found


def run(value: float, **changes: Any) -> Outcome:
    """A complete run of ten epochs with this metric."""
    point = Point(epoch=10.0, updates=1000, samples=10_000, wall_s=50.0, value=value)
    made = Outcome(
        accuracy=value,
        best=value,
        updates=1000,
        final_batch=32,
        wall_s=50.0,
        growths=[],
        diverged=False,
        batches=[(0.0, 32), (10.0, 32)],
        curve=[point],
        metric="accuracy",
        larger_is_better=True,
    )
    return replace(made, **changes)


@pytest.mark.parametrize("setting", ["quick", "full"])
@pytest.mark.parametrize("name", NAMES)
def test_recipe_setting_and_rows_fit_the_command_line(name: str, setting: str, studies: dict[str, Study]) -> None:
    study = studies[name]
    rows = study.rows(setting)
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        for further in row.grid.values() or [""]:
            flags = f"{study.settings[setting]} {row.flags} {further}".split()
            parse_recipe("train", [str(ROOT / "recipes" / study.recipe), *flags])


def test_adabatchs_claims_hold_where_they_should_and_fail_where_they_should(studies: dict[str, Study]) -> None:
    good = {
        "fixed small": [run(0.80, updates=2580, wall_s=100.0)],
        "adabatch": [run(0.795, updates=1000, wall_s=60.0)],
        "fixed large": [run(0.70, updates=161)],
    }
    claims = studies["adabatch"].claims(good)
    assert [claim.holds for claim in claims] == [True] * 4
    bad = good | {"adabatch": [run(0.78, updates=1100, wall_s=120.0)], "fixed large": [run(0.78)]}
    assert [claim.holds for claim in studies["adabatch"].claims(bad)] == [False] * 4
    assert studies["adabatch"].claims({}) == []


def test_a_plateau_of_four_times_the_rate_is_asked_of_lars(studies: dict[str, Study]) -> None:
    found = {"SGD, base batch": [run(0.80)], "SGD, linear": [run(0.1, diverged=True)], "SGD, tuned": [run(0.79)]}
    found |= {f"LARS {rate}": [run(value)] for rate, value in ((16, 0.70), (22, 0.795), (45, 0.80), (90, 0.795))}
    assert all(claim.holds for claim in studies["lars"].claims(found))
    narrow = studies["lars"].claims(found | {"LARS 90": [run(0.5)]})
    assert [claim.holds for claim in narrow] == [True, False, True, True]
    holed = studies["lars"].claims(found | {"LARS 45": [run(0.5)]})
    assert [claim.holds for claim in holed] == [True, False, True, True]


def test_a_row_that_is_none_is_refused() -> None:
    line = [
        sys.executable,
        str(ROOT / "benchmarks" / "reproduce"),
        "lars",
        "--only",
        "SGD, base batch",
        "--only",
        "SGD",
    ]
    ended = subprocess.run(line, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--only: given 'SGD'; allowed: 'SGD, base batch', 'LARS 16'," in ended.stderr


def test_perplexity_is_better_when_smaller(studies: dict[str, Study]) -> None:
    text = {"metric": "perplexity", "larger_is_better": False}
    found = {f"LEGW k = {k}": [run(value, **text)] for k, value in ((1, 100.0), (4, 101.0), (16, 103.0), (64, 99.0))}
    assert [claim.holds for claim in studies["legw-text"].claims(found)] == [True, False, True]


def test_weight_decay_that_stays_and_that_follows_the_batch_are_judged_apart(studies: dict[str, Study]) -> None:
    found = {"LEGW k = 1": [run(0.56)], "decay per epoch k = 16": [run(0.556)], "LEGW k = 16": [run(0.55)]}
    claims = studies["legw-rows-plain"].claims(found)
    assert {claim.text.split(":")[0]: claim.holds for claim in claims} == {
        "decay per epoch k = 16": True,
        "LEGW k = 16": False,
    }


def test_gaps_are_points_of_the_mean_over_seeds() -> None:
    found = {"small": [run(0.80), run(0.82)], "large": [run(0.79), run(0.81)], "lost": [run(0.1, diverged=True)]}
    assert within(found, "large", "small", 1.01, "").numbers == "-1.00 points"
    assert within(found, "large", "small", 0.5, "").holds is False
    assert behind(found, "large", "small", 3.0, "").holds is False
    assert behind(found, "lost", "small", 90.0, "").holds is True  # it diverged


def test_a_row_without_its_runs_says_so() -> None:
    lines = [Line(Row(name="fixed small", says="batch 32"), {}), Line(Row(name="late"), {})]
    shown = table_lines(lines, {"fixed small": [run(0.8), run(0.9)]})
    assert "| fixed small | batch 32 | 85.00 ± 7.07 |" in shown[2]
    assert shown[3].startswith("| late |  | not run |")
