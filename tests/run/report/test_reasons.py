"""Reasons as rules write them."""

from __future__ import annotations

import math

import pytest

from hpc_adabatch.run.report.reasons import kind, wanted


@pytest.mark.parametrize(
    ("reason", "size", "words"),
    [
        ("noise scale 302.7 (221.5 to inf), wanted 250 (191.9 to 1437)", 250, "measured, and the present batch kept"),
        ("noise scale inf (1 to inf), wanted inf (2 to inf)", math.inf, "measured, and the present batch kept"),
        ("noise scale 3e+06 (1 to inf), wanted 1.5e+06 (2 to inf)", 1.5e6, "measured, and the present batch kept"),
        ("dwelling after a change", None, "dwelling after a change"),
        ("loss 0.4, best 0.3, 2 epochs ago", None, "loss"),
        ("change 3: every 0.7 epochs, batch x2", None, "change"),
        ("schedule: 250 from 0.5ep on", None, "schedule"),
        ("", None, "not told"),
    ],
)
def test_numbers_and_kinds(reason: str, size: float | None, words: str) -> None:
    assert wanted(reason) == size
    assert kind(reason) == words
