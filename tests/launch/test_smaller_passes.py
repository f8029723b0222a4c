"""Micro-batches that ranks find together, and go below together when one of them runs out of memory in a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.launch


@pytest.mark.parametrize(
    ("launcher", "ranks", "workers"), [("mpirun", 2, 0), ("torchrun", 3, 0), ("horovodrun --gloo", 2, 1)]
)
def test_all_ranks_make_a_step_again_bit_by_bit(
    launcher: str, ranks: int, workers: int, launch: Any, programs: Path, tmp_path: Path
) -> None:
    """One rank fails in the middle of a backward pass, while others wait for its sums."""
    done = launch(programs / "smaller_passes.py", tmp_path, workers, ranks=ranks, launcher=launcher)
    assert done.stdout.count("the same bit by bit") == ranks
