"""The scripts of examples/: each adaptive one trains to the weights of the plain one, and its batch grows when told."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.launch
NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "examples" / "plain").glob("*.py"))
ROUNDED = {"language_model": 1e-6}  # where a gradient is weighed in another order (examples/README.md); others: 0


def check(printed: str, names: list[str]) -> None:
    found = re.findall(
        r"^(?:\[0\]<stdout>:)?(\w+): (\S+) apart, updates (\[.*?\]), grown (\[.*?\])$", printed, re.MULTILINE
    )
    assert [name for name, *_ in found] == names
    assert [(name, apart) for name, apart, *_ in found if not float(apart) <= ROUNDED.get(name, 0.0)] == []
    for name, _, fixed, grown in found:
        same, fewer = ast.literal_eval(fixed), ast.literal_eval(grown)
        assert len(same) >= 3, name
        assert len(set(same)) == 1, name
        assert [fewer[0], fewer[0] // 2, fewer[0] // 4] == fewer[:3], name
        assert fewer[0] == same[0], name


def test_one_process(launch: Any, programs: Path) -> None:
    check(launch(programs / "examples.py", *NAMES, ranks=1, launcher="plain", timeout_s=600).stdout, NAMES)


def test_horovod_that_was_started_before_is_told_of(launch: Any, tmp_path: Path) -> None:
    """It joins messages as they happen to be ready: the last bits of a sum over three ranks were left to chance."""
    starts = {"ours": "hab.Cluster.start()", "theirs": "hvd.init()"}
    for first in starts:
        lines = ["import horovod.torch as hvd", "import hpc_adabatch as hab"]
        lines += [starts[first], *(line for name, line in starts.items() if name != first), "assert hvd.size() == 3"]
        (tmp_path / f"{first}.py").write_text("\n".join(lines), encoding="utf-8")
    told = {first: launch(tmp_path / f"{first}.py", ranks=3, launcher="horovodrun --gloo").stderr for first in starts}
    assert "hvd.init() before Cluster.start()" not in told["ours"]
    assert told["theirs"].count("hvd.init() before Cluster.start()") == 1


def test_two_ranks(launch: Any, programs: Path) -> None:
    names = ["ema", "gan", "language_model", "mnist"]
    check(launch(programs / "examples.py", *names, launcher="horovodrun --gloo", timeout_s=600).stdout, names)
