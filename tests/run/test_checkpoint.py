"""State on disk, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.errors import InputError
from hpc_adabatch.run import checkpoint


def test_the_newest_is_loaded_and_the_one_before_is_kept(tmp_path: Path) -> None:
    for number in range(3):
        checkpoint.save(tmp_path, {"number": number, "weights": torch.full((2,), float(number))})
    loaded = checkpoint.load(tmp_path, SingleProcess())
    assert loaded is not None
    assert loaded["number"] == 2
    assert torch.load(tmp_path / "previous.pt", weights_only=True)["number"] == 1
    assert not (tmp_path / "last.tmp").exists()


def test_a_damaged_one_gives_way_to_the_one_before(tmp_path: Path) -> None:
    for number in range(2):
        checkpoint.save(tmp_path, {"number": number})
    content = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(content[: len(content) // 2])
    loaded = checkpoint.load(tmp_path, SingleProcess())
    assert loaded is not None
    assert loaded["number"] == 0


def test_nothing_saved_is_nothing_loaded(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path, SingleProcess()) is None


def test_only_damaged_ones_are_said_so(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"half")
    with pytest.raises(InputError, match="resume"):
        checkpoint.load(tmp_path, SingleProcess())


def test_a_kill_while_writing_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, {"number": 0})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, {"number": 1})
    loaded = checkpoint.load(tmp_path, SingleProcess())
    assert loaded == {"number": 0}
