"""The templates for GPUs on a real Slurm with GPUs on paper: what they ask, what ranks are shown, how they train."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import SlurmCluster
from conftest import require

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "quickstart.yaml"
TEMPLATES = sorted((ROOT / "slurm").glob("*.sbatch"))


@pytest.fixture(scope="module")
def gpus() -> Iterator[SlurmCluster]:
    """Two plain nodes, and four with each kind of GPU that a template asks for."""
    require()
    with SlurmCluster(2, 2, gpus={"p100": 1, "v100": 4, "a100": 4, "gh200": 4, "mi250": 8}, n_gpu_nodes=4) as cluster:
        yield cluster


def test_every_template_is_accepted(gpus: SlurmCluster, tmp_path: Path) -> None:
    """--test-only says when the job would start, or what is wrong."""
    for template in TEMPLATES:
        done = gpus.run("sbatch", "--test-only", template, "recipes/quickstart.yaml", cwd=tmp_path)
        assert "to start at" in done.stderr, done.stderr
    done = gpus.run("sbatch", "--test-only", "--gres=gpu:k80:4", ROOT / "slurm" / "v100.sbatch", "r", code=None)
    assert done.returncode != 0  # the check can fail


def test_templates_train(gpus: SlurmCluster, tmp_path: Path) -> None:
    """On one rank a node, which computes on its CPU; the precision of the GPU is taken out.

    That p100, v100 and a100 run the same lines is seen in test_templates.py; cpu trains in test_jobs.py.
    """
    size = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=1500", "--time=5")
    exported = f"--export=ALL,ADABATCH_HOME={ROOT},ADABATCH_FLAGS="
    jobs = {}
    for template in TEMPLATES:
        if template.stem in ("p100", "a100", "cpu"):
            continue
        folder = tmp_path / template.stem
        folder.mkdir()
        jobs[folder] = gpus.sbatch(*size, exported, template, RECIPE, "--epochs=1", "--out=run", cwd=folder)
    for folder, job in jobs.items():
        assert gpus.wait(job, timeout_s=240)["JobState"] == "COMPLETED", gpus.output(job)
        result = json.loads((folder / "run" / "result.json").read_text(encoding="utf-8"))
        assert result["world_size"] == 2
        begun = json.loads((folder / "run" / "journal.jsonl").read_text(encoding="utf-8").splitlines()[0])
        assert begun["engine"] == ("horovod" if folder.name == "v100" else "torch")


@pytest.mark.parametrize("asked", ["--gres=gpu:v100:2", "--gpus-per-node=v100:2"])
def test_each_rank_sees_all_gpus_of_its_job_and_no_others(asked: str, gpus: SlurmCluster, tmp_path: Path) -> None:
    """Bug story: with --gpu-bind=none Slurm tells ranks of no GPU, and CUDA shows them those of other jobs, too."""
    adabatch = tmp_path / "adabatch"
    adabatch.write_text('#!/bin/sh\necho "$SLURMD_NODENAME sees $CUDA_VISIBLE_DEVICES"\n', encoding="utf-8")
    adabatch.chmod(0o755)
    other = gpus.sbatch("--nodelist=v100n1", "--gres=gpu:v100:1", "--mem=100", "--wrap", "sleep 300", cwd=tmp_path)
    gpus.wait(other, "RUNNING")
    exported = f"--export=ALL,ADABATCH_HOME={ROOT},PATH={tmp_path}:{gpus.environment['PATH']}"
    size = ("--nodelist=v100n1,v100n2", "--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=1", "--mem=200")
    text = (ROOT / "slurm" / "v100.sbatch").read_text(encoding="utf-8")
    template = tmp_path / "v100.sbatch"
    template.write_text(text.replace("#SBATCH --gres=gpu:v100:4", f"#SBATCH {asked}"), encoding="utf-8")
    job = gpus.sbatch(exported, *size, template, "doctor", cwd=tmp_path)
    assert gpus.wait(job)["JobState"] == "COMPLETED", gpus.output(job)
    gpus.run("scancel", other)
    seen = sorted(line for line in gpus.output(job).splitlines() if " sees " in line)
    assert seen == ["v100n1 sees 1,2"] * 2 + ["v100n2 sees 0,1"] * 2


def test_what_other_flags_would_show(gpus: SlurmCluster) -> None:
    line = ("srun", "--mpi=none", "--nodelist=v100n1", "--ntasks=2", "--mem=100", "--gres=gpu:2")
    show = ("bash", "-c", "echo [$CUDA_VISIBLE_DEVICES]")
    for flag, seen in (("--gpu-bind=none", ["[]", "[]"]), ("--gpus-per-task=1", ["[0]", "[1]"])):
        assert sorted(gpus.run(*line, flag, *show).stdout.split()) == seen


@pytest.mark.parametrize("template", ["v100", "gh200"])
def test_a_successor_asks_for_the_same_gpus(template: str, gpus: SlurmCluster, tmp_path: Path) -> None:
    """Bug story: --gres beside the --gpus-per-node of the script asked for twice as many."""
    adabatch = tmp_path / "adabatch"
    again = "mkdir run && touch run/result.json"
    adabatch.write_text(f"#!/bin/sh\n[ -e told ] || {{ touch told; exit 75; }}\n{again}\n", encoding="utf-8")
    adabatch.chmod(0o755)
    exported = f"--export=ALL,ADABATCH_HOME={ROOT},PATH={tmp_path}:{gpus.environment['PATH']}"
    size = ("--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=200", "--no-requeue")
    line = (exported, *size, ROOT / "slurm" / f"{template}.sbatch", "r.yaml", "--out=run")
    number = gpus.sbatch(*line, cwd=tmp_path)
    first = gpus.wait(number)
    assert "goes on as job" in gpus.output(number), gpus.output(number)
    (said,) = [line for line in gpus.output(number).splitlines() if "goes on as job" in line]
    second = gpus.wait(int(said.split()[-1]))
    assert second["JobState"] == "COMPLETED"
    assert first["TresPerNode"] == second["TresPerNode"]
