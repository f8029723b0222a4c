"""The package as pip brings it, where there is neither Horovod nor mpi4py."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.launch
ROOT = Path(__file__).resolve().parents[2]
HIDDEN = ("horovod", "mpi4py", "hpc_adabatch", "__editable__")
VERBS = """
import sys
from hpc_adabatch.cli import main

lines = [["--help"], ["--version"], ["recipes"], ["recipes", "quickstart", "--to", "mine.yaml"], ["doctor"]]
lines += [["init", "job", "--task=digits", "--gpu=none", "--nodes=1", "--ranks_per_node=2"], ["plan", "quickstart"]]
lines += [["plan", "job/recipe.yaml", "--ranks=2"], ["train", "mine.yaml", "--epochs=1", "--out=alone"]]
lines += [["report", "alone", "--html"]]
for words in lines:
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
    (folder / "docs").mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "docs/pip.md"):
        shutil.copy(ROOT / name, folder / name)
    for room in ("hpc_adabatch", "recipes", "slurm", "pbs", "launch"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
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
    torchrun = folder / "venv" / "bin" / "torchrun"
    torchrun.write_text(f"#!{python}\nfrom torch.distributed.run import main\n\nmain()\n", encoding="utf-8")
    torchrun.chmod(0o755)
    return folder / "venv"


def test_a_wheel_does_all_on_one_rank_and_several_without_horovod_and_mpi(venv: Path, tmp_path: Path) -> None:
    said = call(venv / "bin" / "python", "-c", VERBS, cwd=tmp_path)
    verbs = ("--help", "--version", "recipes", "init", "plan", "train", "report")
    assert {f"ended {verb} 0" for verb in verbs} <= set(said.splitlines()), said
    assert "missing" not in said  # doctor's word; it may find this machine short of something else
    assert "launch/install" not in said
    assert "horovod            not installed: torch sums over ranks without it" in said
    assert "mpi4py             not installed: torch sums over ranks without it" in said
    call(
        venv / "bin" / "torchrun",
        "--nproc-per-node=2",
        "--no-python",
        venv / "bin" / "adabatch",
        "train",
        "mine.yaml",
        "--epochs=1",
        "--out=ranks",
        cwd=tmp_path,
    )
    results = [json.loads((tmp_path / name / "result.json").read_text(encoding="utf-8")) for name in ("alone", "ranks")]
    assert [(result["world_size"], result["engine"]) for result in results] == [(1, "none"), (2, "torch")]
    assert results[0]["batches"] == results[1]["batches"]


def test_a_batch_script_that_init_wrote_trains_by_what_the_wheel_brings(venv: Path, tmp_path: Path) -> None:
    """launch/job, launch/run and adabatch are those of the wheel, from any folder and with nothing on the PATH."""
    asked = ("--task=digits", "--gpu=none", "--nodes=1", "--ranks_per_node=2")
    call(venv / "bin" / "adabatch", "init", "job", *asked, cwd=tmp_path)
    script = (tmp_path / "job" / "run.sbatch").read_text(encoding="utf-8")
    # this venv was made without pip, and has no activate: what stands there is its bin folder
    assert f"{venv}/bin" in script
    job = [
        "SLURM_JOB_ID=8",
        "SLURM_NTASKS=2",
        "SLURM_JOB_NUM_NODES=1",
        "ADABATCH_LAUNCHER=torchrun",
        "PATH=/usr/bin:/bin",
    ]
    said = call("env", *job, "bash", "run.sbatch", "recipe.yaml", "--epochs=1", cwd=tmp_path / "job")
    assert "train recipe.yaml --epochs=1 --out runs/recipe-8 --resume auto" in said
    result = json.loads((tmp_path / "job" / "runs" / "recipe-8" / "result.json").read_text(encoding="utf-8"))
    assert (result["world_size"], result["engine"]) == (2, "torch")


def test_the_page_for_pip(venv: Path, tmp_path: Path) -> None:
    """Its script, and its commands but those that need a cluster or somebody to wait."""
    page = (ROOT / "docs" / "pip.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    assert "epoch" in call(venv / "bin" / "python", "script.py", cwd=tmp_path)
    for name, text in {"train.py": "", "run.slurm": "#SBATCH --nodes=2 --gres=gpu:v100:4\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    lines = [
        line.partition("#")[0].strip() for line in re.findall(r"^    ((?:adabatch|torchrun) .*)$", page, re.MULTILINE)
    ]
    tried = 0
    for words in map(shlex.split, lines):
        if words[1] != "doctor" and "--help" not in words:
            more = ["--epochs=1"] if words[1] == "train" else []
            call("env", f"PATH={venv}/bin:/usr/bin:/bin", *words, *more, cwd=tmp_path)
            tried += 1
    assert tried == 10
