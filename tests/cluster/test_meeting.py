"""Where the ranks of torchrun meet. Real launches are in launch/, Slurm's in slurm/test_jobs.py."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch.distributed as dist

from hpc_adabatch.cluster import meeting
from hpc_adabatch.environment import Launch


def parts(store: dist.Store, n_ranks: int) -> list[dist.Store]:
    """The part of the store that each rank is given, where all look for it at once."""
    launches = [Launch("torchrun", rank, n_ranks, rank) for rank in range(n_ranks)]
    with ThreadPoolExecutor(n_ranks) as ranks:
        return list(ranks.map(lambda launch: meeting._anew(store, launch), launches))


def test_ranks_that_are_started_again_meet_where_none_has_been(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug story: they found the addresses of the ranks before them, and nobody there: "connection refused"."""
    monkeypatch.setattr(meeting, "LONGEST_S", 60.0)
    store = dist.HashStore()
    store.set("asks 2", "a rank that was lost before it was answered")
    first = parts(store, 3)
    first[0].set("address of rank 0", "old")
    assert first[2].get("address of rank 0") == b"old"
    again = parts(store, 3)
    assert not any(part.check(["address of rank 0"]) for part in again)
    again[1].set("address of rank 0", "new")
    assert again[2].get("address of rank 0") == b"new"
    assert first[1].get("address of rank 0") == b"old"


def test_rank_0_opens_the_store_that_torchrun_does_not_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    """By TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, and with older releases of torch: all ranks waited for it."""
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
    told = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "False"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(meeting, "LONGEST_S", 20.0)
    store = meeting.meet(Launch("torchrun", 0, 1, 0), None)
    store.set("here", "yes")
    assert store.get("here") == b"yes"
