"""Closed forms of sums over ranks: hand-worked cases, limits, and what the algorithms owe each other."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.study.scaling.network import (
    EDR,
    PRESETS,
    Link,
    Network,
    double_tree_s,
    hierarchical_s,
    measured,
    preset,
    ring_s,
    tree_s,
)

LINK = Link(latency_s=1e-3, bandwidth_bytes_per_s=1e6)
ranks, sizes = st.integers(2, 5000), st.floats(1e2, 1e9)


def test_by_hand() -> None:
    assert ring_s(4, 4e3, LINK) == pytest.approx(6 * (1e-3 + 1e-3))
    assert tree_s(4, 4e3, LINK) == pytest.approx(4 * (1e-3 + 4e-3))
    assert tree_s(5, 4e3, LINK) == pytest.approx(6 * (1e-3 + 4e-3))
    assert double_tree_s(4, 4e3, LINK, 500) == pytest.approx(4e-3 + 2 * 5 / 4 * 4e-3)  # depth 2, 4 chunks
    assert double_tree_s(2, 4e3, LINK, 500) == pytest.approx(2e-3 + 4e-3)
    for algorithm in (ring_s, tree_s, double_tree_s):
        assert algorithm(1, 4e3, LINK) == 0


@given(ranks=ranks, size=sizes)
def test_no_algorithm_beats_the_bytes_that_every_rank_must_send(ranks: int, size: float) -> None:
    """Each rank sends 2 (P-1)/P M at least (Patarasuk & Yuan, theorem 1); the ring reaches it."""
    free = Link(latency_s=0, bandwidth_bytes_per_s=1e6)
    least = 2 * (ranks - 1) / ranks * size / 1e6
    assert ring_s(ranks, size, free) == pytest.approx(least)
    assert tree_s(ranks, size, free) >= least * (1 - 1e-12)
    assert double_tree_s(ranks, size, free) >= least * (1 - 1e-12)


@given(size=sizes)
def test_trees_win_where_ranks_are_many_and_messages_small(size: float) -> None:
    assert double_tree_s(4096, 1e3, EDR) < ring_s(4096, 1e3, EDR) / 100
    assert ring_s(4, 1e9, EDR) < tree_s(4, 1e9, EDR)
    assert double_tree_s(4096, size, EDR) <= tree_s(4096, size, EDR) * (1 + 1e-9)


@given(size=sizes, nodes=st.integers(1, 512), per_node=st.integers(1, 16))
def test_hierarchical_meets_the_flat_ring_at_both_ends(size: float, nodes: int, per_node: int) -> None:
    network = Network(within=PRESETS["v100"].within, between=EDR, ranks_per_node=per_node)
    one_each = Network(within=network.within, between=EDR, ranks_per_node=1)
    assert hierarchical_s(one_each, nodes, size) == pytest.approx(ring_s(nodes, size, EDR))
    assert hierarchical_s(network, 1, size) == pytest.approx(ring_s(per_node, size, network.within))
    assert network.allreduce_s(nodes, size) <= hierarchical_s(network, nodes, size)


@given(latency=st.floats(1e-5, 1e-1), bandwidth=st.floats(1e6, 1e11), nodes=st.integers(2, 64), size=sizes)
def test_a_probe_is_returned_by_the_network_made_of_it(
    latency: float, bandwidth: float, nodes: int, size: float
) -> None:
    network = measured(latency, bandwidth, nodes, ranks_per_node=4)
    assert hierarchical_s(network, nodes, size) == pytest.approx(latency + size / bandwidth)


def test_resnet_50_on_64_v100_nodes() -> None:
    """102 MB: 4 GPUs by NVLink take a millisecond, 64 nodes by EDR 16 to 18."""
    network = preset("v100")
    assert hierarchical_s(network, 1, 102e6) == pytest.approx(1.04e-3, rel=0.02)
    assert network.allreduce_s(64, 102e6) == pytest.approx(18.2e-3, rel=0.05)
    assert preset("p100-aries").ranks_per_node == 1
    assert preset("v100", 8).ranks_per_node == 8


def test_what_cannot_be() -> None:
    with pytest.raises(InputError, match=r"h100; allowed: p100, .*--network v100"):
        preset("h100")
    with pytest.raises(InputError, match="bandwidth"):
        Link(latency_s=0, bandwidth_bytes_per_s=0)
    with pytest.raises(InputError, match="ranks_per_node"):
        Network(within=LINK, between=LINK, ranks_per_node=0)
    with pytest.raises(InputError, match="2 nodes"):
        measured(1e-3, 1e9, 1, 4)
    with pytest.raises(ValueError, match="butterfly"):
        hierarchical_s(preset("v100"), 2, 1e6, between="butterfly")
    assert math.isfinite(measured(1e-3, 1e9, 2, 4).allreduce_s(4096, 1e8))
