"""Node counts that follow the batch: closed forms of steps whose samples go over the nodes and whose sum costs hops."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_adabatch.errors import InputError
from hpc_adabatch.study.scaling.follow import (
    Following,
    NodeRange,
    Stage,
    check_changes,
    fixed,
    followed,
    node_range,
)
from hpc_adabatch.study.scaling.network import Link, Network
from hpc_adabatch.study.scaling.plan_nodes import Machine, PassTimes

SAMPLE_S, HOP_S = 1e-3, 6e-3


def rule(
    *, wait_s: float = 0.0, efficiency: float = 0.75, most: int = 32, per_node: int = 1, hop_s: float = HOP_S
) -> Following:
    """A step takes 1 ms for each sample of a rank, and 12 ms for each doubling of the nodes."""
    network = Network(
        within=Link(latency_s=0.0, bandwidth_bytes_per_s=math.inf),
        between=Link(latency_s=hop_s, bandwidth_bytes_per_s=math.inf),
        ranks_per_node=per_node,
    )
    passes = PassTimes({1: SAMPLE_S, 4096: 4096 * SAMPLE_S})
    machine = Machine(passes=passes, network=network, gradient_bytes=1e6)
    return Following(machine=machine, range=NodeRange(least=1, most=most), efficiency=efficiency, wait_s=wait_s)


def step_s(nodes: int, batch: int) -> float:
    return SAMPLE_S * batch / nodes + 2 * HOP_S * math.log2(nodes)


@given(power=st.integers(0, 12), efficiency=st.sampled_from([0.5, 0.75, 0.9]))
def test_a_batch_is_worth_the_most_nodes_that_keep_the_efficiency(power: int, efficiency: float) -> None:
    """b / n + 12 log2(n) ms on n nodes: b / (b + 12 n log2(n)) of one node's work."""
    batch = 1 << power
    kept = [n for n in (1, 2, 4, 8, 16, 32) if n <= batch and batch / (batch + 12 * n * math.log2(n)) >= efficiency]
    assert rule(efficiency=efficiency).worth(batch) == max(kept)


def test_each_rank_has_a_sample_at_least() -> None:
    """Without a network all nodes keep the efficiency."""
    free = rule(hop_s=0.0, per_node=4)
    assert [free.worth(batch) for batch in (1, 4, 8, 64, 4096)] == [1, 1, 2, 16, 32]


def test_more_nodes_pay_where_they_save_more_than_twice_the_wait() -> None:
    batch, samples = 256, 256 * 1000
    to = rule().worth(batch)
    assert to == 2
    saved_s = 1000 * (step_s(1, batch) - step_s(to, batch))
    assert rule(wait_s=saved_s / 2 * 0.999).next_nodes(1, batch, samples) == to
    assert rule(wait_s=saved_s / 2 * 1.001).next_nodes(1, batch, samples) == 1
    assert rule().next_nodes(to, batch, samples) == to
    assert rule(wait_s=1e-9).next_nodes(1, batch, 0.0) == 1  # at the end of the run


def test_fewer_nodes_pay_where_their_node_seconds_do() -> None:
    """32 nodes with 64 samples: of 1,000 steps each takes 62 ms, and 64 on one node."""
    batch, samples = 64, 64 * 1000
    to = rule().worth(batch)
    assert to == 1
    saved_s = 1000 * (32 * step_s(32, batch) - to * step_s(to, batch))
    assert rule(wait_s=saved_s / 2 / 32 * 0.999).next_nodes(32, batch, samples) == to
    assert rule(wait_s=saved_s / 2 / 32 * 1.001).next_nodes(32, batch, samples) == 32


def test_a_batch_that_goes_up_and_down_does_not_take_the_nodes_with_it() -> None:
    free = rule()
    edge = next(batch for batch in range(1, 4096) if free.worth(batch) == 4)
    assert free.next_nodes(1, edge, 1e6) == 4
    assert free.next_nodes(4, edge - 1, 1e6) == 4  # worth less, and twice as many are not
    assert free.next_nodes(4, edge // 2, 1e6) == 4
    assert free.next_nodes(4, (edge - 1) // 2, 1e6) < 4


STAGES = [
    Stage(epoch=0, global_batch=16, steps=1000, samples=16_000),
    Stage(epoch=1, global_batch=256, steps=100, samples=25_600),
    Stage(epoch=2, global_batch=4096, steps=100, samples=409_600),
    Stage(epoch=3, global_batch=16, steps=5000, samples=80_000),
]


@pytest.mark.parametrize("wait_s", [0.0, 1.0, 3.0, 30.0, 1e6])
def test_a_plan_is_what_the_run_would_decide_stage_by_stage(wait_s: float) -> None:
    one = rule(wait_s=wait_s)
    nodes, seconds, node_s, waited_s = one.worth(16), 0.0, 0.0, 0.0
    for number, stage in enumerate(STAGES):
        left = sum(other.samples for other in STAGES[number:])
        to = one.next_nodes(nodes, stage.global_batch, left) if number else nodes
        waited_s += wait_s * (to != nodes)
        nodes = to
        seconds += stage.steps * step_s(nodes, stage.global_batch)
        node_s += nodes * stage.steps * step_s(nodes, stage.global_batch)
    parts = followed(one, STAGES)
    assert sum(part.seconds for part in parts) == pytest.approx(seconds)
    assert sum(part.waited_s for part in parts) == pytest.approx(waited_s)
    assert sum(part.node_hours for part in parts) == pytest.approx(node_s / 3600)
    if wait_s == 0:
        assert [part.nodes for part in parts] == [1, 2, 16, 1]
    if wait_s == 1e6:
        assert {part.nodes for part in parts} == {1}
        assert parts == fixed(one, STAGES, 1)


def test_a_node_count_with_more_ranks_than_samples_is_none() -> None:
    assert fixed(rule(), STAGES, 32) == []


def test_counts_double_up_to_the_last() -> None:
    assert node_range("1:32").counts == (1, 2, 4, 8, 16, 32)
    assert node_range("3:20").counts == (3, 6, 12, 20)
    assert str(node_range("2:4")) == "2:4"


@pytest.mark.parametrize(
    "text", ["", "4", "1:", ":4", "0:4", "4:4", "4:1", "1:2:3", "-1:4", "1.5:4", "a:b", "1:9999999"]
)
def test_what_is_no_range_is_told(text: str) -> None:
    with pytest.raises(InputError, match=r"^nodes_follow: given .*; type --nodes_follow 1:32"):
        node_range(text)


def test_numbers_out_of_range_are_told() -> None:
    for efficiency in (0.0, 1.1, math.nan):
        with pytest.raises(InputError, match=r"^efficiency: given"):
            rule(efficiency=efficiency)
    for wait_s in (-1.0, math.inf, math.nan):
        with pytest.raises(InputError, match=r"^wait_s: given"):
            rule(wait_s=wait_s)
    with pytest.raises(InputError, match=r"nodes_follow: given 1:4 with a batch that is 64 throughout"):
        check_changes([64, 64], "1:4")
