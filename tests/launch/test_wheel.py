"""The package as pip brings it, where there is neither Horovod nor mpi4py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.launch
ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "quickstart.yaml"
HIDDEN = ("horovod", "mpi4py", "hpc_adabatch", "__editable__")
VERBS = """
import sys
from hpc_adabatch.cli import main

for words in (["--help"], ["doctor"], ["plan", RECIPE], ["train", RECIPE, "--epochs=1", "--out=alone"]):
    try:
        main(words)
    except SystemExit as end:
        print("ended", words[0], end.code, flush=True)
"""


def call(*line: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, line)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with a wheel of this tree, and this environment's packages but those hidden."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "hpc_adabatch", folder / "hpc_adabatch", ignore=shutil.ignore_patterns("__pycache__"))
    call(sys.executable, "setup.py", "-q", "bdist_wheel", cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    call(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    (folder / "packages").mkdir()
    for package in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not package.name.startswith(HIDDEN) and package.suffix != ".pth":
            (folder / "packages" / package.name).symlink_to(package)
    purelib = call(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=folder).strip()
    Path(purelib, "packages.pth").write_text(f"{folder / 'packages'}\n", encoding="utf-8")
    return folder / "venv"


def test_a_wheel_does_all_on_one_rank_and_several_without_horovod_and_mpi(venv: Path, tmp_path: Path) -> None:
    said = call(venv / "bin" / "python", "-c", VERBS.replace("RECIPE", repr(str(RECIPE))), cwd=tmp_path)
    assert {f"ended {verb} 0" for verb in ("--help", "plan", "train")} <= set(said.splitlines()), said
    assert "missing" not in said  # doctor's word; it may find this machine short of something else
    assert "horovod            not installed: torch sums over ranks without it" in said
    assert "mpi4py             not installed: torch sums over ranks without it" in said
    torchrun = [venv / "bin" / "python", "-m", "torch.distributed.run", "--nproc-per-node=2", "--no-python"]
    call(*torchrun, venv / "bin" / "adabatch", "train", RECIPE, "--epochs=1", "--out=ranks", cwd=tmp_path)
    results = [json.loads((tmp_path / name / "result.json").read_text(encoding="utf-8")) for name in ("alone", "ranks")]
    assert [(result["world_size"], result["engine"]) for result in results] == [(1, "none"), (2, "torch")]
    assert results[0]["batches"] == results[1]["batches"]
