"""A study that is planned outside the checkout finds launch/run and launch/job all the same, or says so at plan."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
from fake_slurm import FakeSlurm
from planned import ROOT, cells, fake_slurm, impatient, planned, template

from hpc_adabatch import shipped
from hpc_adabatch.errors import InputError
from hpc_adabatch.study import checkout
from hpc_adabatch.study.flags import GridFlags
from hpc_adabatch.study.local import ThisMachine, command
from hpc_adabatch.study.slurm.queue import SlurmQueue
from hpc_adabatch.study.slurm.submit import sbatch_command, submit

CALLS = (ROOT / "slurm" / "cpu.sbatch").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADABATCH_HOME", raising=False)


def calls(folder: Path) -> str:
    (folder / "calls.sbatch").write_text(CALLS, encoding="utf-8")
    return str(folder / "calls.sbatch")


def checkout_in(folder: Path) -> Path:
    (folder / "launch").mkdir(parents=True)
    (folder / "launch" / "run").touch()
    return folder


def test_jobs_outside_the_checkout_are_told_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job ended with "launch/job: not found", after its wait in the queue."""
    fake: FakeSlurm = fake_slurm(tmp_path, monkeypatch)
    study, folder = planned(tmp_path, cells((1,), 1), template=calls(tmp_path))
    submit(study, folder, impatient(tmp_path), study.cells, say=lambda _: None)
    (arguments,) = [job["arguments"] for job in fake.jobs()]
    assert f"--export=ALL,ADABATCH_LAUNCHER=srun,ADABATCH_HOME={ROOT}" in arguments
    last = CALLS.splitlines()[-1].replace("exec ", "ls ").replace(' "$@"', "")
    found = subprocess.run(
        ["env", f"ADABATCH_HOME={ROOT}", "bash", "-c", last], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert found.stdout.strip() == f"{ROOT}/launch/job"


def test_the_folder_of_the_plan_comes_before_the_checkout_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, other = checkout_in(tmp_path / "here"), checkout_in(tmp_path / "other")
    study, folder = planned(here, template=calls(here))
    assert "--export=ALL,ADABATCH_LAUNCHER=srun" in sbatch_command(study, folder, study.cells[0], 1)
    assert str(here / "launch" / "run") in command(study, folder, study.cells[0])
    monkeypatch.setenv("ADABATCH_HOME", str(other))
    assert f"--export=ALL,ADABATCH_LAUNCHER=srun,ADABATCH_HOME={other}" in sbatch_command(
        study, folder, study.cells[0], 1
    )
    assert str(other / "launch" / "run") in command(study, folder, study.cells[0])


def test_without_any_checkout_plan_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package alone in site-packages."""
    package = tmp_path / "site-packages" / "hpc_adabatch"
    monkeypatch.setattr(shipped, "_PACKAGE", package)
    flags = GridFlags(nodes="1", template=calls(tmp_path))
    with pytest.raises(
        InputError, match=r"^template: given .*launch/job.*; type cd CHECKOUT, or export ADABATCH_HOME="
    ):
        SlurmQueue.terms(flags, (), tmp_path)
    with pytest.raises(InputError, match=r"^where: given local, planned in .*; type cd CHECKOUT"):
        ThisMachine.terms(flags, (), tmp_path)
    SlurmQueue.terms(GridFlags(nodes="1", template=str(template(tmp_path))), (), tmp_path)  # a script of another kind
    for room in ("slurm", "launch"):  # as a wheel brings them
        shutil.copytree(ROOT / room, package / "share" / room)
    monkeypatch.chdir(tmp_path)
    found = SlurmQueue.terms(GridFlags(nodes="1"), (), tmp_path)
    assert found.template == str(package / "share" / "slurm" / "cpu.sbatch")
    assert checkout.variables(tmp_path, "exec launch/job") == {"ADABATCH_HOME": str(package / "share")}


def test_a_path_that_sbatch_would_cut_off_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADABATCH_HOME", str(checkout_in(tmp_path / "a,b")))
    with pytest.raises(InputError, match=r"^template: given .*a,b/launch/job; allowed: .* without a comma"):
        checkout.variables(tmp_path, CALLS)
