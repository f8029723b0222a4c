"""Which launcher started a process, from the variables it sets."""

from __future__ import annotations

import pytest

from hpc_adabatch.cluster.environment import launch

ALL = [
    *("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK"),
    *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    *("PMI_RANK", "PMI_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"HOROVOD_RANK": "3", "HOROVOD_SIZE": "8", "HOROVOD_LOCAL_RANK": "1"}, ("horovodrun --gloo", 3, 8, 1, False)),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "8"}, ("mpirun", 3, 8, 0, True)),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, ("mpiexec", 1, 2, 0, True)),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "6", "SLURM_LOCALID": "2"}, ("srun", 5, 6, 2, True)),
        ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, None),  # inside a batch script, not started by srun
        (
            {
                "SLURM_PROCID": "0",
                "SLURM_STEP_NUM_TASKS": "1",
                "OMPI_COMM_WORLD_RANK": "3",
                "OMPI_COMM_WORLD_SIZE": "8",
            },
            ("mpirun", 3, 8, 0, True),  # mpirun inside an allocation
        ),
    ],
)
def test_the_launcher_is_told_by_its_variables(
    variables: dict[str, str], expected: tuple[str, int, int, int, bool] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ALL:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = launch()
    assert expected == (
        None if found is None else (found.launcher, found.rank, found.n_ranks, found.local_rank, found.has_mpi)
    )
