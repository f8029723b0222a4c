"""The benchmark over real links: its table can say no. Its jobs: benchmarks/links, by hand."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

LINKS = Path(__file__).resolve().parents[2] / "benchmarks" / "links" / "__main__.py"


@pytest.fixture(scope="module")
def links() -> dict[str, Any]:
    return runpy.run_path(str(LINKS))


def cells(links: dict[str, Any], study: dict[str, Any], *, late_s: float = 0.0) -> list[Any]:
    """Jobs of a ring without noise but a percent between repeats; those on 8 nodes come later than the ring."""
    made = []
    for nodes, repeats in ((1, 3), (2, 3), (4, 3), (8, 1)):
        for repeat in range(1, repeats + 1):
            local = study["batch"] / (nodes if study["mode"] == "strong" else 1)
            compute_s = (study["sample_s"] * local + study["serial_s"]) * (0.98 + 0.01 * repeat)
            sum_s = 2 * (nodes - 1) / nodes * study["gradient_bytes"] * 8 / (1e6 * study["rate_mbit"])
            sum_s += late_s if nodes == 8 else 0.0
            parts = {"data_s": 0.0, "compute_s": compute_s, "straggler_s": 0.0, "exposed_s": sum_s}
            allreduce_s = sum_s if nodes > 1 else None
            parts |= {"step_s": compute_s + sum_s, "allreduce_s": allreduce_s}
            made.append(links["cell"](study, nodes, repeat, parts))
    return made


def test_studies_take_both_rates_and_both_modes_in_turn_and_are_the_same_for_a_seed(links: dict[str, Any]) -> None:
    studies = links["networks"](10, 0)
    assert [study["rate_mbit"] for study in studies] == [1000] * 5 + [250] * 5
    assert {(study["rate_mbit"], study["mode"]) for study in studies} == {
        (rate, mode) for rate in (1000, 250) for mode in ("strong", "weak")
    }
    assert studies == links["networks"](10, 0) != links["networks"](10, 1)


@pytest.mark.parametrize(("late_s", "right"), [(0.0, 4), (0.5, 0)])
def test_the_table_says_how_often_the_interval_was_right(links: dict[str, Any], late_s: float, right: int) -> None:
    studies = links["networks"](4, 0)
    made = [cell for study in studies for cell in cells(links, study, late_s=late_s)]
    lines = list(links["table"](studies, made))
    assert lines[-1] == f"Right in {right} of 4."
    assert sum("| yes |" in line for line in lines) == right
    assert sum("**no**" in line for line in lines) == 4 - right
