"""How numbers are written."""

from __future__ import annotations

import pytest

from hpc_adabatch.study.scaling.statistics import Interval
from hpc_adabatch.study.wording import count, interval, jobs_spread, listed, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0"),
        (0.00012345, "0.000123"),
        (0.9999, "1.000"),
        (1.0, "1.00"),
        (12.345, "12.3"),
        (999.6, "1,000"),
        (1_234_567.0, "1,230,000"),
        (-42.42, "-42.4"),
        (1.5e-9, "1.50e-09"),
        (float("inf"), "inf"),
    ],
)
def test_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_an_interval_is_written_only_where_there_is_one() -> None:
    assert interval(Interval(value=2.0)) == "2.00"
    assert interval(Interval(value=2.0, low=1.5, high=2.5)) == "2.00 (1.50 to 2.50)"
    assert interval(None) == ""


def test_the_spread_over_jobs_is_their_range() -> None:
    assert jobs_spread([0.003, 0.001, 0.002], 1000) == "2.00 (1.00 to 3.00)"
    assert jobs_spread([0.001]) == "0.00100"
    assert jobs_spread([]) == ""


def test_lists_and_counts() -> None:
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a"]) == "a"
    assert (count(1_234_567), count(None)) == ("1,234,567", "")
