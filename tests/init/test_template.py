"""A template with its site's part filled in: that part alone differs, and Slurm and launch/job take it."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpc_adabatch import shipped
from hpc_adabatch.errors import InputError
from hpc_adabatch.init.resources import KINDS, Resources, read
from hpc_adabatch.init.template import FIRST, LAST, fill, ranks_of
from hpc_adabatch.study.placement import directives

ROOT = Path(__file__).resolve().parents[2]
SITE = Resources(
    queue="slurm",
    nodes=3,
    ranks_per_node=2,
    cores=6,
    time="01:00:00",
    account="abc",
    partition="gpu_p",
)


@pytest.mark.parametrize("gpu", KINDS)
def test_the_sites_part_says_what_was_given_and_the_rest_stays(gpu: str) -> None:
    template = shipped.templates()[KINDS[gpu][0]]
    before, after = template.read_text(encoding="utf-8"), fill(Resources(gpu=gpu).over(SITE))
    asked = directives(after)
    if gpu == "none":
        assert not {"gres", "gpus-per-node"} & asked.keys()
    else:
        gpus = {"gres": f"gpu:{gpu}:2"} if "--gres=" in before else {"gpus-per-node": "2"}
        assert gpus.items() <= asked.items()
    given = {
        "nodes": "3",
        "ntasks-per-node": "2",
        "cpus-per-task": "6",
        "time": "01:00:00",
        "account": "abc",
        "partition": "gpu_p",
    }
    assert given.items() <= asked.items()
    assert directives(before).keys() | {"account", "partition"} == asked.keys()
    assert after[after.index(LAST) :] == before[before.index(LAST) :]
    changed = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] == "+"]
    assert len(changed) < 20
    head = after[: after.index(FIRST)]
    assert "sbatch run.sbatch RECIPE" in head
    assert "checkout" not in head
    assert "docs/" not in head
    assert ranks_of(after) == 6
    assert ranks_of(before) == int(directives(before)["nodes"]) * int(directives(before)["ntasks-per-node"])


def test_what_a_script_asked_for_comes_back_from_ours() -> None:
    """Also in the words of the site: a constraint that needs quotes, --gpus-per-node instead of --gres."""
    lines = [
        *("--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=a100:4", "--cpus-per-task=8", "--time=2-00:00:00"),
        *("--account=p1", "--partition=acc", "--qos=debug", '--constraint="gpu&hbm80g"', "--exclusive", "--mem=400G"),
        *("--reservation=r1", "--hint=nomultithread"),
    ]
    text = "\n".join(["#!/bin/bash", *(f"#SBATCH {line}" for line in lines), "module load a b", "srun x"])
    asked = directives(text)
    ours = directives(fill(read(text)))
    assert asked.items() <= ours.items()
    assert ours["constraint"] == "gpu&hbm80g"
    assert "gres" not in ours


def test_memory_is_asked_for_once() -> None:
    """Slurm refuses --mem beside --mem-per-cpu, and the templates have the former."""
    asked = directives(fill(read("#SBATCH --gres=gpu:v100:2 --mem-per-cpu=4G\n")))
    assert {name: value for name, value in asked.items() if name.startswith("mem")} == {"mem-per-cpu": "4G"}


@pytest.mark.parametrize("gpu", ["v100", "none"])
def test_pbs(gpu: str) -> None:
    given = Resources(
        queue="pbs", gpu=gpu, nodes=3, ranks_per_node=2, cores=6, time="1-02:00:00", account="abc", partition="q1"
    )
    text = fill(given)
    for line in (
        f"#PBS -l select=3:ncpus=12:mpiprocs=2{'' if gpu == 'none' else ':ngpus=2'}",
        *("#PBS -l walltime=26:00:00", "#PBS -A abc", "#PBS -q q1", "#PBS -l place=scatter:excl"),
        f'export ADABATCH_FLAGS="${{ADABATCH_FLAGS---precision {KINDS[gpu][1]}}}"',
    ):
        assert f"\n{line}\n" in text
    assert text.count("select=") == 1
    assert ranks_of(text) == 6
    assert read(text) == read(fill(read(text).over(given)))


@pytest.mark.parametrize("gpu", ["gh200", "mi250"])
def test_pbs_has_no_template_for_these(gpu: str) -> None:
    with pytest.raises(
        InputError, match=rf"^gpu: given {gpu} with PBS; allowed: p100, v100, .*, none; type --queue slurm"
    ):
        fill(Resources(queue="pbs", gpu=gpu))


def test_this_pythons_environment_stands_after_the_sites_modules_and_in_place_of_its_environment() -> None:
    text = "#!/bin/sh\n#SBATCH --nodes=1\nmodule load gcc\nsource /old/env/bin/activate\nconda activate x\n"
    lines = fill(read(text)).splitlines()
    site = lines[lines.index("module load gcc") :][:4]
    assert "source /old/env/bin/activate" not in lines
    assert site[1] == "conda activate x"
    assert str(Path(sys.executable).parent) in site[2]
    assert site[3] == f"export ADABATCH_HOME=${{ADABATCH_HOME:-{ROOT}}} # has launch/job"


@pytest.mark.long
@pytest.mark.parametrize("name", ["slurm", "pbs"])
def test_the_script_comes_to_the_training_that_was_asked_for(name: str, tmp_path: Path) -> None:
    """From a folder of its own, with the fakes of the queue, without ADABATCH_HOME or a PATH to adabatch."""
    script = tmp_path / "run.sh"
    script.write_text(fill(Resources(queue=name, gpu="v100", nodes=1, ranks_per_node=2)), encoding="utf-8")
    fakes = tmp_path / "fakes"
    shutil.copytree(ROOT / "tests" / name / "fakes", fakes, symlinks=True)
    job = {"SLURM_JOB_ID": "8", "SLURM_NTASKS": "2", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "n1"}
    words = ["recipe.yaml", "--seed", "1"]
    if name == "pbs":
        (tmp_path / "nodes").write_text("n1\nn1\n", encoding="ascii")
        job = {"PBS_JOBID": "8.x", "PBS_NODEFILE": str(tmp_path / "nodes"), "PBS_O_WORKDIR": str(tmp_path)}
        job["ADABATCH_WORDS"], words = " ".join(words), []
    environment = {"PATH": f"{fakes}:{os.environ['PATH']}", "HOME": str(tmp_path), **job}
    done = subprocess.run(
        ["bash", str(script), *words],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = "adabatch train recipe.yaml --precision float16 --seed 1 --out runs/recipe-8 --resume auto"
    assert line in done.stdout
    assert re.search(r"2 task\(s\) on 1 node\(s\)", done.stdout)
