"""State on disk, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.errors import InputError
from hpc_adabatch.training import checkpoint


def test_the_newest_is_loaded_and_the_one_before_is_kept(tmp_path: Path) -> None:
    for number in range(3):
        checkpoint.save(tmp_path, {"number": number, "weights": torch.full((2,), float(number))})
    loaded = checkpoint.load(tmp_path, SingleProcess())
    assert loaded is not None
    assert loaded.state["number"] == 2
    assert torch.load(tmp_path / "previous.pt", weights_only=True)["number"] == 1
    assert not (tmp_path / "last.tmp").exists()


def test_a_damaged_one_gives_way_to_the_one_before(tmp_path: Path) -> None:
    for number in range(2):
        checkpoint.save(tmp_path, {"number": number})
    content = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(content[: len(content) // 2])
    loaded = checkpoint.load(tmp_path, SingleProcess())
    assert loaded is not None
    assert loaded.state["number"] == 0


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
    assert loaded is not None
    assert loaded.state == {"number": 0}


def saved(folder: Path, number: int) -> dict[str, object]:
    """A state with tensors of several types, saved."""
    generator = torch.Generator().manual_seed(number)
    state = {
        "number": number,
        "weights": {"a": torch.randn(300, 7, generator=generator), "b": torch.randn((), generator=generator)},
        "ranks": [{"rng": generator.get_state()}, {"flags": torch.tensor([True, False])}],
        "none": torch.empty(0),
    }
    checkpoint.save(folder, state)
    return state


@pytest.mark.parametrize("kind", ["bit", "byte", "zeros", "cut"])
def test_no_damage_goes_unnoticed(kind: str, tmp_path: Path) -> None:
    """Bug story: of 80 files with a changed bit or byte, 60 were resumed with other weights and without a message."""
    before, _ = saved(tmp_path, 0), saved(tmp_path, 1)
    content, draw = (tmp_path / "last.pt").read_bytes(), np.random.default_rng(0)
    for place in draw.integers(0, len(content), 125):
        damaged = bytearray(content)
        if kind == "bit":
            damaged[place] ^= 1 << int(draw.integers(8))
        elif kind == "byte":
            damaged[place] ^= int(draw.integers(1, 256))
        elif kind == "zeros":
            damaged[place : place + 64] = bytes(64)[: len(content) - place]
        else:
            del damaged[place:]
        (tmp_path / "last.pt").write_bytes(damaged)
        loaded = checkpoint.load(tmp_path, SingleProcess())
        assert loaded is not None
        if bytes(damaged) == content:  # zeros over zeros
            assert loaded.state["number"] == 1
            continue
        torch.testing.assert_close(loaded.state, before, rtol=0, atol=0)
        assert list(loaded.damaged) == ["last.pt"]


def test_a_damaged_file_is_put_aside_before_the_next_save(tmp_path: Path) -> None:
    """A kill between the renames of that save would else leave the damaged one alone."""
    saved(tmp_path, 0)
    saved(tmp_path, 1)
    (tmp_path / "last.pt").write_bytes(b"half")
    loaded = checkpoint.load(tmp_path, SingleProcess())
    assert loaded is not None
    checkpoint.put_aside(tmp_path, loaded.damaged)
    saved(tmp_path, 2)
    assert torch.load(tmp_path / "previous.pt", weights_only=True)["number"] == 0
    assert (tmp_path / "damaged.pt").read_bytes() == b"half"


def test_a_file_of_a_release_without_checksums_is_read(tmp_path: Path) -> None:
    torch.save({"number": 5}, tmp_path / "last.pt")
    loaded = checkpoint.load(tmp_path, SingleProcess())
    assert loaded is not None
    assert loaded.state == {"number": 5}
    content = bytearray((tmp_path / "last.pt").read_bytes())
    content[content.index(b"number")] ^= 1
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        checkpoint.load(tmp_path, SingleProcess())


def test_a_newer_format_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, 0)
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    saved(tmp_path, 1)
    monkeypatch.setattr(checkpoint, "FORMAT", 1)
    with pytest.raises(InputError, match="in format 2; allowed: format 1"):
        checkpoint.load(tmp_path, SingleProcess())


def test_a_folder_and_another_programs_file_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "last.pt").mkdir()
    torch.save([1, 2], tmp_path / "previous.pt")
    with pytest.raises(InputError, match=r"last.pt is a folder, previous.pt is no checkpoint"):
        checkpoint.load(tmp_path, SingleProcess())
