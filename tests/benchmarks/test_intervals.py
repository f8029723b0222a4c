"""The short form of the table of intervals: the truth is known, and 95 % of the intervals hold it."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other by name

from intervals import REFERENCE_BATCH, SCALE, Case, covered, rows, split, true_gain  # noqa: E402

pytestmark = pytest.mark.long

SHORT = [
    Case(name="independent", batches=[256] * 12),
    Case(name="scale moves", batches=[256] * 12, moves=0.3),
    Case(name="rests", batches=([1024] * 4 + [8]) * 3, noise_scale=1000.0),
    Case(name="growing and fading", batches=[64] * 8 + [256] * 4 + [1024] * 4, window=4096.0),
    Case(name="training set", batches=[128] * 12, population="gaussian"),
    Case(name="logistic", batches=[128] * 12, population="logistic", pieces=4),
]


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.name)
def test_intervals_hold_the_truth(case: Case) -> None:
    """200 averages: 95 % within two and a half standard errors."""
    signal, noise_scale, gain, _ = covered(case, 200, seed=0)
    for held in (signal, noise_scale, gain):
        assert 0.91 <= held <= 0.99


def test_a_share_is_cut_as_ranks_cut_it() -> None:
    assert [split(8, 2), split(29, 2), split(2, 8), split(9, 4)] == [[4, 4], [15, 14], [1, 1], [3, 2, 2, 2]]


def test_the_true_gain_is_the_papers_and_never_above_the_scale() -> None:
    assert true_gain(1.0, 0.0, math.inf) == SCALE
    assert true_gain(1.0, 1e9, math.inf) == pytest.approx(1.0)
    assert true_gain(1.0, 1 / REFERENCE_BATCH, math.inf) == pytest.approx(2 / (1 + 1 / SCALE))


def test_a_row_names_its_draws_and_their_spread() -> None:
    heading, _, line = rows([Case(name="independent", batches=[64] * 6)], repeats=4, seeds=2)
    assert heading.count("held") == 3
    assert line.startswith("| independent | 360 | ")
    assert line.count("±") == 3
