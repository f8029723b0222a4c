"""What a user's own script gets on several ranks: it goes on exactly, and evaluates exactly."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.launch
ROOT = Path(__file__).resolve().parents[2]


def test_a_script_that_has_lost_a_rank_goes_on_bit_by_bit(launch: Any, programs: Path, tmp_path: Path) -> None:
    assert launch(programs / "goes_on.py", tmp_path / "run", code=None).returncode != 0
    assert launch(programs / "goes_on.py", tmp_path / "run").stdout.count("the same") == 2


@pytest.mark.parametrize(
    ("ranks", "launcher", "lost_at"),
    [(2, "mpirun", 33), (3, "mpirun", 53), (2, "torchrun", 53), (3, "mpirun, torch", 85)],  # the third vote is at 64
)
def test_a_warm_up_by_the_losses_goes_on_bit_by_bit(
    ranks: int, launcher: str, lost_at: int, launch: Any, programs: Path, tmp_path: Path
) -> None:
    how = {"ranks": ranks, "launcher": launcher}
    program = (programs / "warms_up.py", tmp_path / "run", lost_at)
    assert launch(*program, code=None, **how).returncode != 0
    assert launch(*program, **how).stdout.count("the same") == ranks


def test_scores_over_uneven_shares(launch: Any, programs: Path) -> None:
    assert launch(programs / "scores.py", ranks=3).stdout.count("agreed") == 3


def test_the_page_for_horovods_users(launch: Any, tmp_path: Path) -> None:
    """Both scripts as printed: Horovod's, and ours, which leaves a run that is complete when it is started again."""
    page = (ROOT / "docs" / "from-a-horovod-script.md").read_text(encoding="utf-8")
    before, after = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert '"checkpoint.pt"' in before
    assert '"runs/digits"' in after
    (tmp_path / "before.py").write_text(before.replace("checkpoint.pt", f"{tmp_path}/checkpoint.pt"), encoding="utf-8")
    (tmp_path / "after.py").write_text(after.replace("runs/digits", f"{tmp_path}/run"), encoding="utf-8")
    accuracies = re.findall(r"accuracy (\d\.\d+)", launch(tmp_path / "before.py").stdout)
    assert len(accuracies) == 10
    assert float(accuracies[-1]) > 0.9
    said = launch(tmp_path / "after.py").stdout
    accuracies = re.findall(r"^epoch +\d+ .*test accuracy (\d\.\d+)", said, re.MULTILINE)
    assert len(accuracies) == 10
    assert float(accuracies[-1]) > 0.9
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert (result["name"], result["task"], result["world_size"]) == ("run", "after", 2)
    assert result["metric"] == {"name": "accuracy", "value": pytest.approx(float(accuracies[-1]), abs=1e-4)}
    assert "holds this run, complete" in launch(tmp_path / "after.py").stdout
