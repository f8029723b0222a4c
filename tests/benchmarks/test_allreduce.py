"""The simulator against closed forms, against a slow one that moves single messages, and with late ranks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_adabatch.study.scaling.network import EDR, Link, Network, double_tree_s, hierarchical_s, preset, ring_s, tree_s

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other by name

from allreduce import (  # noqa: E402
    binary_tree,
    double_tree,
    expected_latest_s,
    hierarchical,
    lognormal,
    on_time,
    ring,
    tree,
)

pytestmark = pytest.mark.long

SIZES = (*range(1, 18), 31, 32, 33, 64, 100, 128, 256, 512, 1000, 1024, 2048, 4095, 4096)
LINK = Link(latency_s=1e-3, bandwidth_bytes_per_s=1e6)
late = st.lists(st.floats(0, 1), min_size=2, max_size=9)


@pytest.mark.parametrize("message_bytes", [1e3, 1e8])
def test_without_stragglers_it_is_the_closed_form_up_to_4096_ranks(message_bytes: float) -> None:
    for ranks in SIZES:
        start = on_time(ranks)
        assert ring(start, message_bytes, EDR) == pytest.approx(ring_s(ranks, message_bytes, EDR), rel=0.01)
        assert tree(start, message_bytes, EDR).max() == pytest.approx(tree_s(ranks, message_bytes, EDR), rel=0.01)
        found = double_tree(start, message_bytes, EDR).max()
        assert found == pytest.approx(double_tree_s(ranks, message_bytes, EDR), rel=0.01)


@pytest.mark.parametrize("between", ["ring", "double tree"])
def test_hierarchical_up_to_4096_ranks(between: str) -> None:
    for name in ("p100", "v100"):
        network = preset(name)
        for nodes in (1, 2, 3, 16, 1024):
            found = hierarchical(np.zeros((nodes, 4)), 1e8, network, between=between).max()
            assert found == pytest.approx(hierarchical_s(network, nodes, 1e8, between=between), rel=0.01)


def one_message_at_a_time(start: list[float], message_bytes: float, link: Link) -> list[float]:
    """A ring, slowly: when each rank has received its piece of each step, from the definition."""
    ranks, hop_s = len(start), link.hop_s(message_bytes / len(start))
    known: dict[tuple[int, int], float] = {}

    def left(rank: int, step: int) -> float:  # when the piece of this step has arrived at the next rank
        if (rank, step) not in known:
            before = left(rank, step - 1) if step else start[rank]
            has = max(left((rank - 1) % ranks, step - 1), start[rank]) if step else start[rank]
            known[rank, step] = max(before, has) + hop_s
        return known[rank, step]

    last = 2 * (ranks - 1) - 1
    return [max(left(rank, last), left((rank - 1) % ranks, last)) for rank in range(ranks)]


@given(start=late, message_bytes=st.floats(10, 1e6))
def test_the_ring_is_the_one_that_moves_single_messages(start: list[float], message_bytes: float) -> None:
    assert ring(np.array(start), message_bytes, LINK) == pytest.approx(
        one_message_at_a_time(start, message_bytes, LINK)
    )


def chunk_by_chunk(start: list[float], parent: list[int], k: int, gap_s: float, latency_s: float) -> list[float]:
    """One tree, slowly: chunk j of a rank, up and down, from the definition."""
    children = [[r for r, p in enumerate(parent) if p == rank] for rank in range(len(start))]

    def has(rank: int, j: int) -> float:
        return max([start[rank], *(up(child, j) for child in children[rank])])

    def leaves(rank: int, j: int) -> float:
        return has(rank, j) if j == 0 else max(has(rank, j), leaves(rank, j - 1) + gap_s)

    def up(rank: int, j: int) -> float:
        return leaves(rank, j) + gap_s + latency_s

    def down(rank: int, j: int) -> float:
        if parent[rank] < 0:
            return max(has(rank, i) for i in range(k))
        return handed(rank, j) + gap_s + latency_s

    def handed(rank: int, j: int) -> float:
        ready = down(parent[rank], j)
        return ready if j == 0 else max(ready, handed(rank, j - 1) + gap_s)

    return [down(rank, k - 1) for rank in range(len(start))]


@given(start=late, k=st.integers(1, 4))
@settings(max_examples=40)
def test_the_double_tree_is_the_one_that_moves_single_chunks(start: list[float], k: int) -> None:
    n, message_bytes = len(start), 2000.0 * k
    gap_s = 1000 / (1e6 if n == 2 else 0.5e6)
    parent = binary_tree(n).tolist()
    order = list(reversed(range(n))) if n % 2 == 0 else [n - 1, *range(n - 1)]
    one = chunk_by_chunk(start, parent, k, gap_s, 1e-3)
    other = chunk_by_chunk([start[rank] for rank in order], parent, k, gap_s, 1e-3)
    expected = [max(one[rank], other[order.index(rank)]) for rank in range(n)]
    assert double_tree(np.array(start), message_bytes, LINK, 1000) == pytest.approx(expected)


@pytest.mark.parametrize("ranks", SIZES[1:])
def test_binary_trees_have_two_children_at_most_and_no_rank_is_inside_both(ranks: int) -> None:
    parent = binary_tree(ranks)
    children = np.bincount(parent[parent >= 0], minlength=ranks)
    assert (parent < 0).sum() == 1
    assert children.max() <= 2
    assert (children[::2] == 0).all()  # so a tree turned by one rank, or mirrored, has others inside
    depth = [0] * ranks
    for rank in range(ranks):
        above = parent[rank]
        while above >= 0:
            depth[rank], above = depth[rank] + 1, parent[above]
    assert max(depth) == ranks.bit_length() - 1


@given(start=late, message_bytes=st.floats(10, 1e6))
def test_a_ring_ends_one_sum_after_the_latest_start_for_everyone(start: list[float], message_bytes: float) -> None:
    expected = max(start) + ring_s(len(start), message_bytes, LINK)
    assert ring(np.array(start), message_bytes, LINK) == pytest.approx(expected)


@given(ranks=st.integers(2, 300), who=st.integers(0, 299), lateness=st.floats(0, 10))
@settings(max_examples=30)
def test_one_late_rank_delays_trees_by_no_more_than_its_lateness(ranks: int, who: int, lateness: float) -> None:
    start = on_time(ranks)
    start[who % ranks] = lateness
    for simulate in (tree, double_tree):
        before = simulate(on_time(ranks), 1e6, LINK).max()
        after = simulate(start, 1e6, LINK).max()
        assert max(before, lateness) <= after <= (before + lateness) * (1 + 1e-12)


def test_a_late_root_of_a_binomial_tree_waits_for_nobody_but_takes_all_its_messages() -> None:
    start = on_time(8)
    start[0] = 100.0
    assert tree(start, 1e3, LINK).max() == pytest.approx(100 + tree_s(8, 1e3, LINK))
    start = on_time(8)
    start[7] = 0.001  # a leaf's slack: none
    assert tree(start, 1e3, LINK).max() == pytest.approx(0.001 + tree_s(8, 1e3, LINK))
    start = on_time(8)
    start[4] = 0.002  # rank 4 first receives from 5 while it would have waited for 6 and 7
    assert tree(start, 1e3, LINK).max() == pytest.approx(0.002 + tree_s(8, 1e3, LINK))


@given(nodes=st.integers(1, 6), per_node=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_a_hierarchy_ends_one_sum_after_the_latest_start(nodes: int, per_node: int, seed: int) -> None:
    network = Network(within=LINK, between=EDR, ranks_per_node=per_node)
    start = np.random.default_rng(seed).uniform(0, 1, (nodes, per_node))
    expected = start.max() + hierarchical_s(network, nodes, 1e4)
    assert hierarchical(start, 1e4, network).max() == pytest.approx(expected)


@pytest.mark.parametrize("ranks", [1, 8, 512])
def test_expected_lateness_of_lognormal_stragglers(ranks: int) -> None:
    draw = np.random.default_rng(ranks)
    delays = [ring(lognormal(ranks, 0.01, 0.5, draw), 0.0, LINK).max() for _ in range(2000 if ranks < 100 else 200)]
    undisturbed = ring_s(ranks, 0.0, LINK)
    assert np.mean(delays) - undisturbed == pytest.approx(expected_latest_s(ranks, 0.01, 0.5), rel=0.03)


def test_expected_lateness_grows_with_ranks_and_is_the_mean_for_one() -> None:
    found = [expected_latest_s(ranks, 2.0, 0.3) for ranks in (1, 2, 64, 4096)]
    assert found[0] == pytest.approx(2 * np.exp(0.3**2 / 2))
    assert found == sorted(found)
    assert expected_latest_s(64, 2.0, 0.0) == 2.0
