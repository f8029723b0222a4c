"""The two places of a study: what each takes, and what each refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.study.local import ThisMachine
from hpc_adabatch.study.place import Order
from hpc_adabatch.study.places import place_of
from hpc_adabatch.study.slurm.queue import SlurmQueue
from hpc_adabatch.study.state import State

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
from planned import cells, fake_slurm, finish, planned


def test_a_study_knows_its_place(tmp_path: Path) -> None:
    study, folder = planned(tmp_path)
    place = place_of(study, folder)
    assert isinstance(place, SlurmQueue)
    assert place.title == f"Slurm, {study.template} with srun"
    assert study.about(place.title)["where"] == place.title


def test_this_machine_refuses_what_only_slurm_can_do(tmp_path: Path) -> None:
    study, folder = planned(tmp_path, where="local", template="")
    place = place_of(study, folder)
    assert isinstance(place, ThisMachine)
    assert place.title == "this machine"
    with pytest.raises(InputError, match="test_only: given for a study on this machine"):
        place.test(Order(cells=study.cells))
    chain = Order(cells=study.cells, chain=True)
    with pytest.raises(InputError, match="chain: given for a study on this machine, whose cells wait"):
        next(iter(place.lines(chain)))
    with pytest.raises(InputError, match="chain: given for a study on this machine, whose cells wait"):
        place.submit(chain, say=print)
    with pytest.raises(InputError, match=r"NAME: given scaling, which runs on this machine; .* type Ctrl-C"):
        place.cancel(study.cells)


def test_lines_for_this_machine_start_what_is_planned_interrupted_or_to_be_retried(tmp_path: Path) -> None:
    study, folder = planned(tmp_path, cells((1, 2, 4), 1), where="local", template="")
    place = place_of(study, folder)
    finish(folder, "strong_n001_r1")
    folder.make_cell("strong_n004_r1")
    record = '{"cell": "strong_n004_r1", "attempt": 1, "time": "2026-11-21T15:00:00+00:00", %s}'
    folder.append(record % '"command": []')
    assert [status.state for status in place.look().cells] == ["OK", "PLANNED", "PLANNED"]
    with folder.lock():
        assert [status.state for status in place.look().cells] == ["OK", "PLANNED", "RUNNING"]
        assert len(list(place.lines(Order(cells=study.cells)))) == 3  # cd, and two cells
    folder.append(record % '"exit_code": 0, "stopped": "timeout"')
    first, *lines = place.lines(Order(cells=study.cells))
    assert first == f"cd {tmp_path}"
    assert [line.rpartition(" ")[2] for line in lines] == [str(folder.cell("strong_n002_r1"))]
    lines = list(place.lines(Order(cells=study.cells[2:], retry=(State.TIMEOUT,))))
    assert len(lines) == 2
    assert "ADABATCH_LAUNCHER=local" in lines[1]  # also in an allocation
    assert "launch/run -n 4" in lines[1]


def test_a_chain_and_a_dependency_of_ones_own_do_not_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_slurm(tmp_path, monkeypatch)
    study, folder = planned(tmp_path, sbatch=("--dependency=afterok:1",))
    with pytest.raises(InputError, match="chain: given with --dependency in --sbatch"):
        place_of(study, folder).submit(Order(cells=study.cells, chain=True), say=print)
    with pytest.raises(InputError, match="chain: given with --dependency in --sbatch"):
        place_of(study, folder).lines(Order(cells=study.cells, chain=True))
    assert fake.jobs() == []
