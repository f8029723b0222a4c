"""Which MPI cannot start by an older PMI, from what it says of itself and the files beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_adabatch.cluster.mpi import _refusal


@pytest.mark.parametrize(
    ("name", "files", "speaks"),
    [
        ("Open MPI v4.1.4", ["openmpi/lib/openmpi3/mca_pmix_ext3x.so"], False),  # Debian's
        ("Open MPI v4.0.3", ["openmpi/mca_pmix_pmix3x.so", "openmpi/mca_pmix_s2.so"], True),  # --with-pmi
        ("Open MPI v4.1.4", [], True),  # perhaps: all parts are in the library itself
        ("Open MPI v5.0.6", [], False),  # which speaks PMIx alone
        ("MPICH Version:      4.1", [], True),
        ("", [], True),  # no MPI
    ],
)
def test_an_open_mpi_without_the_older_pmi_is_known(name: str, files: list[str], speaks: bool, tmp_path: Path) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    said = _refusal(f"{name}\n{{'{tmp_path}/libopen-pal.so.40.30.2'}}\n")
    assert said == ("" if speaks else f"{name} does not speak the PMI-1 or PMI-2 by which srun started the ranks")
