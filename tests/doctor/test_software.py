"""What is looked at depends on the engine that the ranks will use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpc_adabatch import shipped
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.cluster.start import engine_of
from hpc_adabatch.doctor.check import Check
from hpc_adabatch.doctor.gpus import runs_on
from hpc_adabatch.doctor.place import place, ranks_in_words
from hpc_adabatch.doctor.software import software
from hpc_adabatch.environment import Launch, pmi
from hpc_adabatch.errors import InputError

TORCHRUN, GLOO, MPIRUN = (Launch(name, 0, 2, 0) for name in ("torchrun", "horovodrun --gloo", "mpirun"))


@pytest.mark.parametrize(
    ("found", "asked", "there", "engine"),
    [
        (None, None, True, "horovod"),  # one process: the engine of a launch to come
        (None, None, False, "torch"),
        (MPIRUN, None, True, "horovod"),
        (MPIRUN, None, False, "torch"),
        (MPIRUN, "torch", True, "torch"),
        (MPIRUN, "horovod", False, "horovod"),  # said so, and will not load
        (GLOO, "auto", True, "horovod"),
        (TORCHRUN, None, True, "torch"),
    ],
)
def test_the_engine_of_a_launch(
    found: Launch | None, asked: str | None, there: bool, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ADABATCH_ENGINE", raising=False)
    if not there:
        monkeypatch.setitem(sys.modules, "horovod", None)  # type: ignore[arg-type]
    assert engine_of(found, asked) == engine


def test_the_variable_counts_where_no_flag_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADABATCH_ENGINE", "torch")
    assert engine_of(MPIRUN) == "torch"
    assert engine_of(MPIRUN, "horovod") == "horovod"
    monkeypatch.setenv("ADABATCH_ENGINE", "mpi")
    with pytest.raises(InputError, match="engine: given mpi"):
        engine_of(None)


@pytest.fixture
def without_horovod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "horovod.torch", None)  # type: ignore[arg-type]


def rows(engine: str) -> dict[str, Check]:
    return {check.what: check for check in software(engine)}


@pytest.mark.usefixtures("without_horovod")
def test_with_torch_horovod_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was "wrong: Horovod loads", and the exit code 1, where nobody wanted Horovod."""
    monkeypatch.setattr("hpc_adabatch.doctor.software._version", lambda name: "" if name in NAMES else "1.0")
    found = rows("torch")
    assert [check for check in found.values() if check.mend] == []
    assert found["horovod"].found == "not installed: torch sums over ranks without it"
    assert "gloo" in found["torch.distributed"].found
    assert "Horovod loads" not in found


NAMES = ("horovod", "mpi4py")


@pytest.mark.usefixtures("without_horovod")
def test_a_horovod_that_is_wanted_and_does_not_load_is_wrong() -> None:
    found = rows("horovod")
    assert found["Horovod loads"].mend.endswith("or export ADABATCH_ENGINE=torch")
    assert "mpirun" not in found


def test_one_process_is_told_what_a_launch_would_take() -> None:
    found = {check.what: check.found for check in place(SingleProcess(), "torch")}
    assert found["engine"] == "none; under mpirun or srun it would be torch.distributed"
    assert found["launched by"] == "nothing: one process"


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        (["n1"], "1 on 1 node: n1"),
        (["n1", "n1", "n2", "n2"], "4 on 2 nodes, 2 on each: n1, n2"),
        (["n1", "n1", "n2"], "3 on 2 nodes, not equally many on each: n1 x 2, n2 x 1"),
        ([f"n{n}" for n in range(20)], "20 on 20 nodes, 1 on each: n0, n1, n2, n3, n4, n5, n6, n7 and 12 more"),
    ],
)
def test_ranks_a_node(hosts: list[str], words: str) -> None:
    assert ranks_in_words(hosts) == words


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ({}, None),
        ({"PMIX_RANK": "0", "PMI_RANK": "0"}, "PMIx"),
        ({"PALS_RANKID": "0", "PMI_RANK": "0"}, "Cray PMI (PALS)"),
        ({"PMI_RANK": "0", "PMI_SIZE": "2"}, "PMI-1 or PMI-2"),
    ],
)
def test_the_kind_of_pmi(variables: dict[str, str], kind: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PMIX_RANK", "PALS_RANKID", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert pmi() == kind


@pytest.mark.parametrize(
    ("carried", "major", "minor", "fits"),
    [
        (["sm_70", "sm_80", "sm_90"], 8, 6, True),  # code of a major number runs on later ones of it
        (["sm_75", "sm_80"], 7, 0, False),  # V100 with a torch from Turing on
        (["sm_90", "compute_90"], 9, 0, True),
        (["sm_90a"], 9, 0, False),
        (["sm_100", "sm_120"], 12, 0, True),
        (["sm_100"], 1, 0, False),
    ],
)
def test_code_for_a_gpu(carried: list[str], major: int, minor: int, fits: bool) -> None:
    assert runs_on(carried, major, minor) is fits


@pytest.mark.usefixtures("without_horovod")
def test_where_pip_installed_it_nothing_is_advised_that_only_a_checkout_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It advised ./launch/install, and to remove the .venv of whatever folder one was in."""
    monkeypatch.setattr("hpc_adabatch.doctor.software._version", lambda _: "")
    in_checkout = [check.mend for check in rows("horovod").values() if check.mend]
    assert any("./launch/install" in mend for mend in in_checkout)
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path)
    by_pip = {check.what: check.mend for check in rows("horovod").values() if check.mend}
    assert len(by_pip) == len(in_checkout)
    assert [what for what, mend in by_pip.items() if "launch/" in mend or ".venv" in mend] == []
    assert by_pip["torchvision"] == "pip install torchvision"
    assert by_pip["horovod"].startswith("pip install 'hpc_adabatch[horovod]', with PIP_FIND_LINKS=")
    assert by_pip["Horovod loads"].endswith("; or export ADABATCH_ENGINE=torch")
