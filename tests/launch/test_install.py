"""launch/install says in one line what is missing and what to type."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.launch


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "launch", tmp_path / "checkout" / "launch")
    shutil.copy(ROOT / "setup.py", tmp_path / "checkout")
    return tmp_path / "checkout"


def tools(folder: Path, *left_out: str) -> str:
    """A PATH with the usual tools but some."""
    folder.mkdir()
    for directory in ("/bin", "/usr/bin", "/usr/local/bin"):
        for tool in Path(directory).iterdir():
            if tool.name not in left_out and not (folder / tool.name).exists():
                (folder / tool.name).symlink_to(tool)
    return str(folder)


def install(checkout: Path, **variables: str) -> str:
    """The one line it ends with."""
    base = os.environ | {"HPC_ADABATCH_CACHE": str(checkout / "cache"), "PYTHON": shutil.which("python3") or "python3"}
    for name in ("HPC_ADABATCH_MPI", "HPC_ADABATCH_TORCH", "HPC_ADABATCH_SITE"):
        base.pop(name, None)
    done = subprocess.run(
        ["bash", str(checkout / "launch" / "install")],
        env=base | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("install: ")][-1]


def test_an_unknown_mpi(checkout: Path) -> None:
    assert "allowed: system, wheel" in install(checkout, HPC_ADABATCH_MPI="mpich")


def test_no_python(checkout: Path) -> None:
    assert "Debian: apt-get install python3" in install(checkout, PYTHON="no-such-python", HPC_ADABATCH_MPI="wheel")


def test_mpirun_without_its_compiler(checkout: Path, tmp_path: Path) -> None:
    path = tools(tmp_path / "tools", "mpicxx", "mpirun")
    (tmp_path / "tools" / "mpirun").write_text("#!/bin/sh\necho 'mpirun (Open MPI) 4.1.4'\n", encoding="utf-8")
    (tmp_path / "tools" / "mpirun").chmod(0o755)
    line = install(checkout, PATH=path)
    assert "apt-get install libopenmpi-dev; cluster: module load openmpi" in line


def test_no_compiler(checkout: Path, tmp_path: Path) -> None:
    path = tools(tmp_path / "tools", "g++", "c++", "mpirun", "mpicxx")
    assert "no C++ compiler. Debian: apt-get install g++; cluster: module load gcc" in install(checkout, PATH=path)


def test_no_network(checkout: Path) -> None:
    nowhere = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    line = install(checkout, HPC_ADABATCH_MPI="wheel", PIP_NO_CACHE_DIR="1", PIP_FIND_LINKS="", **nowhere)
    assert "on a node with network" in line


def test_no_locks_on_the_file_system(checkout: Path, tmp_path: Path) -> None:
    """It ended at once with flock's own line, or with none."""
    path = tools(tmp_path / "tools", "flock")
    (tmp_path / "tools" / "flock").write_text("#!/bin/sh\necho 'flock: 9: Function not implemented' >&2; exit 71\n")
    (tmp_path / "tools" / "flock").chmod(0o755)
    assert "Debian: apt-get install python3" in install(checkout, PATH=path, PYTHON="none", HPC_ADABATCH_MPI="wheel")


NOTHING = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nowhere"}


def test_what_is_said_of_other_installations_does_not_hold_here(checkout: Path, tmp_path: Path) -> None:
    """A pip.conf with user = true, or a module's PYTHONPATH with an old numpy: "no package could be fetched"."""
    (tmp_path / "pip.conf").write_text("[install]\nuser = true\n", encoding="utf-8")
    old = tmp_path / "module" / "numpy-1.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Name: numpy\nVersion: 1.0\n", encoding="utf-8")
    others = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_TARGET": "/nowhere", "PYTHONPATH": str(old.parent)}
    line = install(checkout, HPC_ADABATCH_MPI="wheel", **NOTHING, **others)
    assert "the requirement numpy" in line, "it is the first to be fetched"


def test_what_pip_refuses_is_said_in_its_words(checkout: Path) -> None:
    lost = {"PIP_CONSTRAINT": "/nowhere/site.txt", "PIP_CONFIG_FILE": "/dev/null"}
    line = install(checkout, HPC_ADABATCH_MPI="wheel", **NOTHING, **lost)
    assert re.match(r"install: pip install numpy .* failed: ERROR: Could not open .*/nowhere/site.txt", line), line
    assert "network" not in line
