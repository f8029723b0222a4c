"""The page on datasets: its code runs as it is printed, and does what the text says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
AFTER = {  # what holds after each of the page's blocks
    "pad": """
assert batches.plan.n_samples == 80
loader = batches.loader(0, 1)
loader.enter_epoch()
(words, targets), indices = loader.take(4)
assert words.shape == (4, 3 + max(indices.tolist()))
""",
    "often": "assert batches.plan.n_samples == 200 and batches.population is None",
    "strided": "assert batches.plan.n_samples == batches.population == 80",
    "training": "assert training.plan.samples_seen == 160",
}


@pytest.mark.long
def test_the_code_of_the_page_runs() -> None:
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    checks = iter(AFTER.items())
    code = ""
    for block in blocks:
        name, check = next(checks)
        assert name in block
        code += block + check + "\n"
    assert next(checks, None) is None
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
