"""Rehearsals on real ranks: each rank takes part in all of them, and rank 0 speaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.launch


@pytest.mark.parametrize("launcher", ["mpirun", "torchrun"])
def test_ranks_rehearse_together_and_leave_nothing(launcher: str, adabatch: Any, tmp_path: Path) -> None:
    flags = ["--out", tmp_path / "runs", "--policy", "noise_scale", "--learning_rate.scaling", "adascale"]
    done = adabatch("rehearse", "recipes/quickstart.yaml", *flags, "--max_micro_batch", 50, ranks=2, launcher=launcher)
    said = done.stdout.splitlines()
    assert [line.split(":")[0] for line in said] == [
        *("quickstart", "first batch 16", "test set", "checkpoint", "largest batch 256")
    ]
    assert "3 step(s) of 1 x 8 a rank" in said[1]
    assert "3 step(s) of 3 x 43 a rank" in said[4]
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_rank_that_fails_ends_the_rehearsal_with_one_line(adabatch: Any, tmp_path: Path) -> None:
    flags = ["--out", tmp_path, "--model", "nonsense"]
    done = adabatch("rehearse", "recipes/quickstart.yaml", *flags, ranks=2, code=2)
    assert "model: given nonsense" in done.stderr
    assert done.stderr.count("adabatch: error") == 1
    assert list(tmp_path.iterdir()) == []
