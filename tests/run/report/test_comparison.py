"""Several runs beside the first: what they saved is what their journals say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rich.console import Console

from hpc_adabatch.run.report.account import Account
from hpc_adabatch.run.report.comparison import comparison_table, comparison_verdict, saved
from hpc_adabatch.run.result import lines

sys.path.insert(0, str(Path(__file__).resolve().parent))
from made_runs import Record, run, without_end


@pytest.fixture
def three(tmp_path: Path) -> list[Account]:
    return [run(tmp_path / rule, rule, label=rule) for rule in ("fixed", "adabatch", "smith")]


def test_a_row_for_each_run(three: list[Account]) -> None:
    table = comparison_table(three)
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    first, other = three[0].result, three[1].result
    assert rows[0]["updates saved"] == rows[0]["accuracy gained"] == ""
    assert rows[1]["updates"] == str(other["steps"])
    fewer = first["steps"] - other["steps"]
    assert rows[1]["updates saved"] == f"{fewer} ({first['steps'] / other['steps']:.2f}x)"
    assert rows[1]["accuracy gained"] == f"{other['metric']['value'] - first['metric']['value']:+.4f}"
    target = first["metric"]["value"]
    there = next(r for r in three[1].of_kind("evaluation") if r["metric"] >= target)
    assert rows[1][f"as good as {target:.4f}: updates"] == str(there["step"])
    assert rows[1][f"as good as {target:.4f}: seconds"] == f"{there['time_s']:.1f}"


def test_the_sentence_names_the_cheapest(three: list[Account]) -> None:
    words = comparison_verdict(three)
    target = three[0].result["metric"]["value"]
    reached = {r.label: r.first_as_good_as(target) for r in three[1:]}
    fewest = min(reached, key=lambda name: reached[name]["step"])  # type: ignore[index]
    assert f"{fewest} took the fewest updates, {reached[fewest]['step']}" in words  # type: ignore[index]
    assert f"reached test accuracy {target:.4f}, at which fixed ended" in words


def test_a_target_that_none_reached(tmp_path: Path) -> None:
    def perfect(records: list[Record]) -> list[Record]:
        return [{**r, "metric": 1.0} if r["kind"] in ("evaluation", "end") else r for r in records]

    runs = [run(tmp_path / "a", "fixed", perfect, label="a"), run(tmp_path / "b", "smith", label="b")]
    assert comparison_verdict(runs) == "No other run reached the test accuracy at which a ended, 1.0000."
    assert comparison_table(runs).rows[1][-2:] == ("never", "never")


def test_runs_without_a_metric_and_unlike_ones_are_compared_as_far_as_they_can_be(tmp_path: Path) -> None:
    def other_metric(records: list[Record]) -> list[Record]:
        return [records[0] | {"metric": "perplexity"}, *records[1:]]

    plain = run(tmp_path / "a", "fixed", label="a")
    other = run(tmp_path / "b", "smith", other_metric, label="b")
    begun = run(tmp_path / "c", "smith", lambda records: records[:1], label="c", complete=False)
    rows = comparison_table([plain, other, begun]).rows
    assert rows[1][8:] == ("", "never", "never")
    assert rows[2][0] == "c (cut off)"
    assert "test accuracy" in comparison_verdict([plain, other, begun])
    assert comparison_verdict([begun, plain]) == "c, to which the others are compared, has no test accuracy."
    assert len(comparison_table([begun, plain]).rows) == 2


def test_the_terminal_shows_the_same(three: list[Account], tmp_path: Path) -> None:
    runs = [*three, run(tmp_path / "live", "cabs", without_end, label="live", complete=False)]
    console = Console(width=300)
    with console.capture() as capture:
        for part in lines(runs):
            console.print(part)
    shown = capture.get()
    for row in comparison_table(runs).rows:
        assert all(cell in shown for cell in row)
    assert "live (cut off)" in shown
    assert comparison_verdict(runs) in " ".join(shown.split())


@pytest.mark.parametrize(
    ("value", "reference", "words"),
    [(462, 1080, "618 (2.34x)"), (34.0, 26.7, "-7.3 (0.79x)"), (0, 5, "5"), (25.0, 25.0, "0 (1.00x)")],
)
def test_what_was_saved(value: float, reference: float, words: str) -> None:
    assert saved(value, reference) == words
