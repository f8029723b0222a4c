"""The page on a rule of one's own: its script is as short as it says, runs, and resumes exactly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-rule.md"

pytestmark = pytest.mark.long


def script() -> str:
    (found,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return found


def begun(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's training, before its loop."""
    monkeypatch.syspath_prepend(".")
    Path("halving.py").write_text(script().partition("for epoch in")[0], encoding="utf-8")
    sys.modules.pop("halving", None)
    return __import__("halving").training


def trained(training: Any, epochs: int) -> list[int]:
    """The batch after each epoch of a training that goes on to so many."""
    batches = []
    for epoch in training.epochs(epochs):
        for step in training.epoch(epoch):
            for inputs, targets in step:
                step.backward(torch.nn.functional.cross_entropy(training.model(inputs), targets))
            step.update()
        batches.append(training.global_batch)
    return batches


def test_the_rule_has_30_lines_and_the_script_runs(tmp_path: Path) -> None:
    rule = re.search(r"^@dataclass.*?(?=^\S.* = )", script(), re.DOTALL | re.MULTILINE)
    assert rule is not None
    assert len(rule[0].strip().splitlines()) <= 30
    done = subprocess.run([sys.executable, "-c", script()], cwd=tmp_path, capture_output=True, text=True, check=True)
    batches = [int(each) for each in re.findall(r"^epoch \d+: batch (\d+)$", done.stdout, re.MULTILINE)]
    assert len(batches) == 10
    assert batches == sorted(batches)
    assert batches[-1] >= 4 * batches[0]


def test_it_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = begun(monkeypatch)
    batches = trained(whole, 8)
    first = begun(monkeypatch)
    assert trained(first, 3) == batches[:3]
    first.save("kept")
    again = begun(monkeypatch)
    assert again.load("kept")
    assert trained(again, 8) == batches[3:]
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
