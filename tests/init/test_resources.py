"""What is read from a batch script of Slurm or PBS, word by word."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.init.resources import Resources, read

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = """#!/bin/bash
#SBATCH --job-name=train
#SBATCH -N 4
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:v100:4
#SBATCH --cpus-per-task=40 --time=1-12:00:00
#SBATCH -A abc@v100
#SBATCH -p gpu_p13
#SBATCH -C v100-32g
#SBATCH --hint=nomultithread
#SBATCH --mail-user=me@site.edu
module purge
module load gcc/12 cuda/12.1
eval "$(conda shell.bash hook)"
eval $(ssh-agent)
  source ~/env/bin/activate
srun torchrun --nnodes 4 train.py
#SBATCH --nodes=9
"""
PBS = """#!/bin/bash
#PBS -N train
#PBS -l select=3:ncpus=64:mpiprocs=4:ngpus=4:mem=200gb -l walltime=3600
#PBS -A project -q prod
#PBS -l filesystems=home:eagle,place=scatter
#PBS -m abe
module load conda
mpiexec -n 12 python train.py
"""


def test_a_script_for_torchrun_has_a_task_a_node_and_ours_one_a_gpu() -> None:
    found = read(TORCHRUN)
    assert (found.queue, found.nodes, found.ranks_per_node, found.cores) == ("slurm", 4, 4, 10)
    assert (found.gpu, found.asks, found.time) == ("v100", "--gres=gpu:v100:", "1-12:00:00")
    assert (found.account, found.partition) == ("abc@v100", "gpu_p13")
    assert found.more == {"constraint": "v100-32g", "hint": "nomultithread"}
    hook = 'eval "$(conda shell.bash hook)"'
    assert found.environment == ("module purge", "module load gcc/12 cuda/12.1", hook, "source ~/env/bin/activate")
    assert found.left == ("--mail-user=me@site.edu",)


def test_a_script_of_pbs() -> None:
    found = read(PBS)
    assert (found.queue, found.nodes, found.ranks_per_node, found.cores) == ("pbs", 3, 4, 16)
    assert (found.gpu, found.time, found.account, found.partition) == ("", "1:00:00", "project", "prod")
    assert found.more == {"filesystems": "home:eagle", "place": "scatter"}
    assert found.environment == ("module load conda",)
    assert found.left == ("mem=200gb", "m abe")


@pytest.mark.parametrize(
    ("asked", "nodes", "ranks", "cores", "gpu"),
    [
        ("--nodes=2 --ntasks-per-node=8 --cpus-per-task=4", 2, 8, 4, "none"),
        ("-N2 -n16 -c4", 2, 8, 4, "none"),
        ("--ntasks=16 --nodes=3", 3, 6, None, "none"),  # uneven: room for all
        ("--ntasks=8 --gpus-per-node=4", 2, 4, None, ""),
        ("--ntasks=8 --ntasks-per-node=4 --gpus=a100:8", 2, 4, None, "a100"),
        ("-n 2 -N 2 --gpus-per-task=2 --cpus-per-task=16", 2, 2, 8, ""),
        ("--nodes=1 --gpus-per-node=h100:4 --cpus-per-gpu=8", 1, 4, 8, "h100"),
        ("--gres=gpu:1,nvme:100", 1, 1, None, ""),
        ("--gres=gpu", 1, 1, None, ""),
        ("--nodes=2-4 --gres=gpu:gh200:4", 2, 4, None, "gh200"),
        ("--gpus=4 --partition=mi250x", 1, 4, None, "mi250"),
        ("--time=5", 1, 1, None, "none"),
    ],
)
def test_the_ways_to_ask_slurm(asked: str, nodes: int, ranks: int, cores: int | None, gpu: str) -> None:
    found = read(f"#!/bin/sh\n#SBATCH {asked}\nsrun x\n")
    assert (found.nodes, found.ranks_per_node, found.cores, found.gpu) == (nodes, ranks, cores, gpu)


@pytest.mark.parametrize(
    ("asked", "nodes", "ranks", "cores"),
    [
        ("-l nodes=2:ppn=16", 2, 16, 1),
        ("-l nodes=2:ppn=16:gpus=4", 2, 4, 4),
        ("-lselect=4:ncpus=8:ngpus=2", 4, 2, 4),
        ("-l select=1:ncpus=8", 1, 1, 8),
        ("-l ncpus=8 -l walltime=1:00:00", 1, 1, None),
    ],
)
def test_the_ways_to_ask_pbs(asked: str, nodes: int, ranks: int, cores: int | None) -> None:
    found = read(f"#!/bin/sh\n#PBS {asked}\nmpiexec x\n")
    assert (found.nodes, found.ranks_per_node, found.cores) == (nodes, ranks, cores)


def test_what_is_given_goes_before_what_was_read() -> None:
    known = read(TORCHRUN)
    found = Resources(nodes=8, account="mine").over(known)
    assert (found.nodes, found.account, found.partition, found.more) == (8, "mine", "gpu_p13", known.more)


def test_a_file_that_asks_for_nothing_is_no_batch_script() -> None:
    with pytest.raises(InputError, match=r"^from: given a file without #SBATCH or #PBS lines"):
        read("srun x\n")


@pytest.mark.parametrize("path", [*ROOT.glob("slurm/*.sbatch"), *ROOT.glob("pbs/*.pbs")], ids=lambda path: path.name)
def test_our_own_templates_are_read(path: Path) -> None:
    found = read(path.read_text(encoding="utf-8"))
    assert found.left == ()
    assert found.nodes in (2, 4)
    kinds = {"cpu": "none", "gpu": "", "gh200": "", "mi250": ""}  # by --gpus-per-node, which needs no kind
    assert found.gpu == kinds.get(path.stem, path.stem)
