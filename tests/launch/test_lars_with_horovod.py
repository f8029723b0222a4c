"""LARS inside Horovod's optimizer: the trust ratio is that of the averaged gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.launch
def test_lars_on_two_ranks_equals_one_process(launch: Any, programs: Path) -> None:
    """O12, O13."""
    assert launch(programs / "lars_oracles.py", ranks=2).stdout.count("oracles hold") == 2
