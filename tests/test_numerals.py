"""Numbers in words."""

from __future__ import annotations

import math

import pytest

from hpc_adabatch.numerals import brief


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0"),
        (0.0123456, "0.01235"),
        (9999.4, "9999"),
        (16384.4, "16384"),
        (1281167.0, "1281167"),
        (-23456.7, "-23457"),
        (3e12, "3e+12"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_digits_before_the_point_are_written_out(value: float, words: str) -> None:
    assert brief(value) == words
