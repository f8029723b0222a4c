"""The noise meter in loops of DistributedDataParallel and of Horovod, and the page that explains it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.launch
PAGE = Path(__file__).resolve().parents[2] / "docs" / "noise-meter.md"


@pytest.mark.parametrize(("launcher", "ranks", "kind"), [("torchrun", 3, "ddp"), ("horovodrun --gloo", 2, "horovod")])
def test_the_meter_agrees_and_changes_nothing(
    launcher: str, ranks: int, kind: str, launch: Any, programs: Path
) -> None:
    """Three ranks of DDP: on two every order of a sum gives the same bits."""
    done = launch(programs / "noise_meter.py", kind, ranks=ranks, launcher=launcher)
    assert done.stdout.count("the meter is right") == ranks


@pytest.mark.parametrize(
    ("place", "launcher", "ranks"), [(0, "torchrun", 2), (1, "plain", 1), (2, "horovodrun --gloo", 2)]
)
def test_the_pages_examples_run(place: int, launcher: str, ranks: int, launch: Any, tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 3
    (tmp_path / "example.py").write_text(examples[place], encoding="utf-8")
    code = None if launcher == "torchrun" else 0  # at its end a rank of DDP and Gloo may abort: pytorch/pytorch#190489
    printed = launch(tmp_path / "example.py", ranks=ranks, launcher=launcher, code=code).stdout
    found = re.findall(r"noise scale (\d+) \((\d+) to (\d+|inf)\) samples, (\d+) measurements", printed)
    assert len(found) == 1
    low, middle, high = (float(found[0][i]) for i in (1, 0, 2))
    assert low < middle < high
    assert int(found[0][3]) >= 10
