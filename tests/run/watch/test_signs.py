"""Whether a folder is owned, as seen from a machine that must not write there."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from hpc_adabatch.run.owner import GONE_S, SIGN_S, Owner
from hpc_adabatch.run.watch.signs import SKEW_S, Signs


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monotonic_s, self._s = time.monotonic(), time.time()
        monkeypatch.setattr("hpc_adabatch.run.watch.signs.time", self)

    def go_on(self, seconds: float) -> None:
        self._monotonic_s += seconds
        self._s += seconds

    def monotonic(self) -> float:
        return self._monotonic_s

    def time(self) -> float:
        return self._s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def elsewhere(folder: Path) -> Path:
    """An owner on another machine."""
    file = folder / "owner.json"
    file.write_text(json.dumps({"host": "n1", "space": "a b", "pid": 7, "started": "1", "job": "81", "restarts": 0}))
    return file


def test_a_process_of_this_machine(tmp_path: Path) -> None:
    signs = Signs(Owner(tmp_path))
    assert not signs.is_owned()
    with Owner(tmp_path) as owner:
        owner.claim()
        before = sorted(tmp_path.iterdir()), tmp_path.stat().st_mtime_ns
        assert signs.is_owned()
        assert (sorted(tmp_path.iterdir()), tmp_path.stat().st_mtime_ns) == before
    assert not signs.is_owned()


def test_a_process_that_has_ended_here_is_gone_at_once(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        Owner(tmp_path).claim()
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "owner.json").exists()
    assert not Signs(Owner(tmp_path)).is_owned()


def test_one_elsewhere_lives_as_long_as_it_gives_signs(tmp_path: Path, clock: Clock) -> None:
    file, signs = elsewhere(tmp_path), Signs(Owner(tmp_path))
    for _ in range(20):
        assert signs.is_owned()
        clock.go_on(SIGN_S)
        os.utime(file, (clock.time(), clock.time()))
    clock.go_on(GONE_S - 1)
    assert signs.is_owned()
    clock.go_on(GONE_S + 1)
    assert not signs.is_owned()
    os.utime(file, (clock.time(), clock.time()))
    assert signs.is_owned()


@pytest.mark.parametrize(("age_s", "owned"), [(SKEW_S, True), (SKEW_S + GONE_S + 1, False), (-SKEW_S, True)])
def test_a_sign_that_is_older_than_clocks_differ_is_none(
    age_s: float, owned: bool, tmp_path: Path, clock: Clock
) -> None:
    file = elsewhere(tmp_path)
    os.utime(file, (clock.time() - age_s, clock.time() - age_s))
    assert Signs(Owner(tmp_path)).is_owned() == owned


def test_an_owner_that_cannot_be_read_counts_as_one_elsewhere(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "owner.json").write_text("{")
    signs = Signs(Owner(tmp_path))
    assert signs.is_owned()
    clock.go_on(GONE_S + 1)
    assert not signs.is_owned()
