"""How numbers are written."""

from __future__ import annotations

from hpc_adabatch.study.scaling.statistics import Interval
from hpc_adabatch.study.wording import interval, jobs_spread, listed


def test_an_interval_is_written_only_where_there_is_one() -> None:
    assert interval(Interval(value=2.0)) == "2.00"
    assert interval(Interval(value=2.0, low=1.5, high=2.5)) == "2.00 (1.50 to 2.50)"
    assert interval(None) == ""


def test_the_spread_over_jobs_is_their_range() -> None:
    assert jobs_spread([0.003, 0.001, 0.002], 1000) == "2.00 (1.00 to 3.00)"
    assert jobs_spread([0.001]) == "0.00100"
    assert jobs_spread([]) == ""


def test_lists() -> None:
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a"]) == "a"
