"""Files and words damaged in many ways: one line, or of use; the first of fuzz.py's thousands of cases."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fuzz import NAMES, do

pytestmark = pytest.mark.long

CASES = 6


@pytest.mark.parametrize("name", NAMES)
def test_what_is_damaged_is_told_in_one_line_or_used(name: str) -> None:
    wrong: list[str] = []
    counts = do([name], CASES, say=wrong.append)
    assert not wrong, "\n".join(wrong)
    assert sum(counts.values()) == CASES
