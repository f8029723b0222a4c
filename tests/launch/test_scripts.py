"""What a user's own script gets on several ranks: it goes on exactly, and evaluates exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.launch


def test_a_script_that_has_lost_a_rank_goes_on_bit_by_bit(launch: Any, programs: Path, tmp_path: Path) -> None:
    assert launch(programs / "goes_on.py", tmp_path / "run", code=None).returncode != 0
    assert launch(programs / "goes_on.py", tmp_path / "run").stdout.count("the same") == 2


def test_scores_over_uneven_shares(launch: Any, programs: Path) -> None:
    assert launch(programs / "scores.py", ranks=3).stdout.count("agreed") == 3
