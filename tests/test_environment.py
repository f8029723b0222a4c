"""Which launcher started a process, from the variables it sets."""

from __future__ import annotations

import pytest

from hpc_adabatch.environment import _LAUNCHERS, first_node, launch

OMPI = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "8"}
PMI2 = {"PMI_RANK": "5", "PMI_SIZE": "6"}
SRUN = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "6", "SLURM_LOCALID": "2"}
TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "x"}
PALS = {"PALS_RANKID": "5", "PALS_LOCAL_RANKID": "2", "PMI_RANK": "5", "PMI_SIZE": "6", "PMI_LOCAL_RANK": "2"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"HOROVOD_RANK": "3", "HOROVOD_SIZE": "8", "HOROVOD_LOCAL_RANK": "1"}, ("horovodrun --gloo", 3, 8, 1, False)),
        (OMPI, ("mpirun", 3, 8, 0, True)),
        (OMPI | {"OMPI_COMM_WORLD_LOCAL_RANK": "1"}, ("mpirun", 3, 8, 1, True)),
        (
            {"MV2_COMM_WORLD_RANK": "3", "MV2_COMM_WORLD_SIZE": "8", "MV2_COMM_WORLD_LOCAL_RANK": "1"},
            ("mpirun_rsh", 3, 8, 1, True),
        ),
        (
            {"MVP_COMM_WORLD_RANK": "3", "MVP_COMM_WORLD_SIZE": "8", "MVP_COMM_WORLD_LOCAL_RANK": "1"},
            ("mpirun_rsh", 3, 8, 1, True),  # MVAPICH 3: each rank took itself for a run of its own
        ),
        (
            OMPI | {"JSM_NAMESPACE_RANK": "3", "JSM_NAMESPACE_SIZE": "8", "JSM_NAMESPACE_LOCAL_RANK": "1"},
            ("jsrun", 3, 8, 1, True),  # of Spectrum MPI, an Open MPI
        ),
        (
            PMI2 | {"FLUX_TASK_RANK": "5", "FLUX_JOB_SIZE": "6", "FLUX_TASK_LOCAL_ID": "2"},
            ("flux run", 5, 6, 2, True),
        ),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, ("mpiexec", 1, 2, 0, True)),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "PMI_LOCAL_RANK": "1"}, ("mpiexec", 1, 2, 1, True)),
        (PMI2 | {"MPI_LOCALRANKID": "2"}, ("mpiexec", 5, 6, 2, True)),  # MPICH and Intel MPI
        (
            # Hydra on two nodes of an allocation, whose proxies srun started
            {**PMI2, "MPI_LOCALRANKID": "2", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0"},
            ("mpiexec", 5, 6, 2, True),
        ),
        (SRUN, ("srun", 5, 6, 2, False)),  # srun --mpi=none
        (SRUN | {"PMIX_RANK": "5"}, ("srun", 5, 6, 2, True)),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, None),  # a script has set them
        (TORCHRUN, ("torchrun", 3, 8, 1, False)),
        (TORCHRUN | SRUN, ("torchrun", 3, 8, 1, False)),  # srun torchrun, one on a node
        (SRUN | PMI2, ("srun", 5, 6, 2, True)),  # srun --mpi=pmi2, which was called mpiexec with local rank 0
        (SRUN | PALS, ("srun", 5, 6, 2, True)),  # srun --mpi=cray_shasta
        (PALS, ("mpiexec (PALS)", 5, 6, 2, True)),
        ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, None),  # inside a batch script, not started by srun
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_LOCALID": "0"}, None),  # one task, srun --pty bash
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "PMI_RANK": "0", "PMI_SIZE": "1"}, None),  # --mpi=pmi2
        ({"FLUX_TASK_RANK": "0", "FLUX_JOB_SIZE": "1", "FLUX_TASK_LOCAL_ID": "0"}, None),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}, ("mpirun", 0, 1, 0, True)),  # MPI was wanted
        (
            OMPI | {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
            ("mpirun", 3, 8, 0, True),  # mpirun inside an allocation
        ),
    ],
)
def test_the_launcher_is_told_by_its_variables(
    variables: dict[str, str], expected: tuple[str, int, int, int, bool] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for row in _LAUNCHERS for name in (row.rank, row.n_ranks, row.local_rank)] + ["PMIX_RANK"]:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = launch()
    assert expected == (
        None if found is None else (found.launcher, found.rank, found.n_ranks, found.local_rank, found.has_mpi)
    )


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("n[1-2,5]", "n1"),
        ("n[007-012]-ib,m[1,3]", "n007-ib"),
        ("rack[2-3]node[10,12]", "rack2node10"),
        ("a.b,c[1-2]", "a.b"),
    ],
)
def test_the_first_node_of_slurms_short_form(nodes: str, first: str) -> None:
    assert first_node(nodes) == first
