"""The interface of the ranks, on one process. Several ranks are tried in launch/test_programs.py."""

from __future__ import annotations

import torch

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess


def test_a_process_that_nobody_launched_stands_alone() -> None:
    cluster = hab.Cluster.start()
    assert isinstance(cluster, SingleProcess)
    assert (cluster.rank, cluster.size, cluster.launcher, cluster.leads) == (0, 1, "none", True)
    assert cluster.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
