"""Which engine joins the ranks: the table in the heading of cluster/start.py, without a rank that joins."""

from __future__ import annotations

import importlib
import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from hpc_adabatch.cluster import horovod, torch_distributed
from hpc_adabatch.environment import Launch
from hpc_adabatch.errors import InputError

start = importlib.import_module("hpc_adabatch.cluster.start")
BROKEN = "does not load (undefined symbol: x)"


@pytest.fixture
def join(monkeypatch: pytest.MonkeyPatch) -> Any:
    """join(launcher, engine, why Horovod does not load): the engine taken, and how often Horovod was imported."""

    def join(launcher: str, wanted: str, why: str) -> tuple[str, int]:
        imports = []
        monkeypatch.setattr(horovod, "load", lambda: (imports.append(1), (None if why else object(), why))[1])
        monkeypatch.setattr(horovod, "HorovodCluster", lambda _: SimpleNamespace(engine="horovod"))
        ranks = {"engine": "torch", "leads": True, "gather": lambda item: [item, item]}
        monkeypatch.setattr(torch_distributed, "TorchCluster", lambda _: SimpleNamespace(**ranks))
        monkeypatch.setattr(start, "on_all", lambda true, _: true)
        return start._join(Launch(launcher, 0, 2, 0), wanted).engine, len(imports)

    for name in ("PMIX_RANK", "PMI_RANK"):  # srun --mpi=none
        monkeypatch.delenv(name, raising=False)
    return join


@pytest.mark.parametrize(
    ("launcher", "wanted", "why", "engine", "imports"),
    [
        ("mpirun", "auto", "", "horovod", 1),
        ("mpirun", "auto", horovod.ABSENT, "torch", 1),
        ("mpirun", "auto", BROKEN, "torch", 1),
        ("mpirun", "torch", "", "torch", 0),
        ("mpirun", "horovod", "", "horovod", 0),  # by its own class
        ("torchrun", "auto", "", "torch", 0),
        ("torchrun", "torch", "", "torch", 0),
        ("srun", "auto", "", "torch", 0),
        (
            "horovodrun --gloo",
            "auto",
            BROKEN,
            "horovod",
            0,
        ),  # which then says so: nobody else knows where the ranks are
        ("horovodrun --gloo", "horovod", "", "horovod", 0),
    ],
)
def test_the_engine_is_one_that_loads_and_knows_the_launcher(
    launcher: str, wanted: str, why: str, engine: str, imports: int, join: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert join(launcher, wanted, why) == (engine, imports)
    said = capsys.readouterr().err
    assert said.count("warning: horovod does not load (undefined symbol: x) on rank 0: torch.distributed sums") == (
        why == BROKEN and engine == "torch"
    )
    assert ("warning" in said) == (why == BROKEN and engine == "torch")


@pytest.mark.parametrize(
    ("launcher", "wanted", "line"),
    [
        ("torchrun", "horovod", "engine: given horovod; allowed: a launcher that it knows, not torchrun"),
        ("srun", "horovod", "engine: given horovod; allowed: a launcher that it knows, not srun"),
        ("horovodrun --gloo", "torch", "engine: given torch; allowed: horovod, which this launcher starts"),
    ],
)
def test_an_engine_that_does_not_know_the_launcher_is_refused(launcher: str, wanted: str, line: str, join: Any) -> None:
    with pytest.raises(InputError) as caught:
        join(launcher, wanted, "")
    assert str(caught.value).startswith(line)


def test_whatever_an_import_of_horovod_raises_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "horovod.torch", None)
    loaded, why = horovod.load()
    assert loaded is None
    assert why.startswith("does not load (")
    assert "\n" not in why
    monkeypatch.setattr(horovod, "find_spec", lambda _: None)
    assert horovod.load() == (None, "is not installed")


@pytest.mark.parametrize(("joined", "ranks", "refused"), [(1, 2, True), (2, 2, False), (2, 1, False)])
def test_horovod_that_has_joined_fewer_ranks_than_the_cluster_is_refused(
    joined: int, ranks: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`measure` and `probe` train alone beside training together, and were refused on two ranks and more."""
    monkeypatch.setitem(sys.modules, "horovod.torch", SimpleNamespace(size=lambda: joined, is_initialized=lambda: True))
    with pytest.raises(InputError, match=r"given 1 rank\(s\) joined of 2") if refused else nullcontext():
        horovod.check_ranks(ranks)
