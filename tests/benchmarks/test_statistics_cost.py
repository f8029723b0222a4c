"""Ratios are taken by round, every loop takes its turn, and a rival that is not there says so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other by name

from rivals import adaptdl_module, rivals, said  # noqa: E402
from statistics_cost import network, ratio, timed  # noqa: E402

from hpc_adabatch.cluster.single import SingleProcess  # noqa: E402


def test_a_drift_of_the_machine_cancels_in_the_ratio() -> None:
    off = [1.0, 2.0, 4.0, 8.0]
    assert ratio([1.1 * value for value in off], off).startswith("1.100 (1.100 to 1.100")
    assert ratio([1.0, 2.2, 4.8, 16.0], off).startswith("1.150 (1.100 to 1.200")


def test_each_loop_takes_its_steps_and_its_turn_to_begin() -> None:
    called: list[str] = []
    loops = {name: lambda name=name: called.append(name) for name in "abc"}
    seconds = timed(loops, SingleProcess(), rounds=3, steps=2)
    assert "".join(called) == "aabbccbbccaaccaabbaabbcc"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_rivals_on_one_rank_are_not_timed() -> None:
    loops, remarks = rivals(lambda: network("resnet20"), 8, SingleProcess())
    assert loops == {}
    assert set(remarks) == {"fairscale", "adaptdl"}


def test_a_rival_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adaptdl", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        adaptdl_module()
    assert "adaptdl" in said(caught.value)
