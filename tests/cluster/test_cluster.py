"""The interface of the ranks, on one process. Several ranks are tried in launch/test_programs.py."""

from __future__ import annotations

import pytest
import torch

import hpc_adabatch as hab
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.cluster.horovod import HorovodCluster
from hpc_adabatch.errors import InputError


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(2))


def test_a_process_that_nobody_launched_stands_alone() -> None:
    try:
        cluster = hab.Cluster.start()
    finally:
        torch.set_flush_denormal(False)  # the tests after this one compute with denormal numbers
    assert isinstance(cluster, SingleProcess)
    assert (cluster.rank, cluster.size, cluster.launcher, cluster.leads) == (0, 1, "none", True)
    assert cluster.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("cluster", [SingleProcess(), HorovodCluster.__new__(HorovodCluster)], ids=["alone", "horovod"])
def test_a_compression_that_does_not_exist_is_refused_in_one_line(cluster: hab.Cluster) -> None:
    """One process took any word, and a launched script ended in an AttributeError."""
    one = parameter()
    with pytest.raises(InputError) as caught:
        cluster.distributed_optimizer(torch.optim.SGD([one], lr=1.0), [("one", one)], compression="fp17")
    assert str(caught.value) == "compression: given fp17; allowed: none, fp16; type --compression none"


def test_the_reduced_gradient_is_applied_by_the_optimizer_or_through_a_scaler() -> None:
    one = parameter()
    reducer = SingleProcess().distributed_optimizer(torch.optim.SGD([one], lr=1.0), [("one", one)])
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for scaled in (False, True):
        reducer.expect(1)
        (scaler.scale(one.sum()) if scaled else one.sum()).backward()
        reducer.reduce()
        with reducer.applying():
            if scaled:
                scaler.step(reducer.optimizer)
            else:
                reducer.optimizer.step()
        reducer.zero_grad()
    assert one.tolist() == [-1.0, -1.0]


def test_a_parameter_that_no_pass_reached_has_the_gradient_zero() -> None:
    one, other = parameter(), parameter()
    reducer = SingleProcess().distributed_optimizer(torch.optim.SGD([one, other]), [("one", one), ("other", other)])
    one.sum().backward()
    reducer.reduce()
    assert other.grad is not None
    assert other.grad.tolist() == [0.0, 0.0]
