"""From pass times, links and a noise scale to node counts."""

from __future__ import annotations

import io
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from hpc_adabatch.errors import InputError
from hpc_adabatch.study.outlook import plan_parts
from hpc_adabatch.study.scaling.network import Link, Network, hierarchical_s, preset
from hpc_adabatch.study.scaling.plan_nodes import Machine, NodesPlan, PassTimes, plan_nodes
from hpc_adabatch.study.scaling.stretches import constant

PASSES = PassTimes({8: 0.03, 32: 0.06, 128: 0.18}, 128)  # a V100 and ResNet-50, about
MACHINE = Machine(passes=PASSES, network=preset("v100"), gradient_bytes=102e6)
NODES = [2**power for power in range(13)]


def planned(noise_scale: float, *, nodes: list[int] = NODES, machine: Machine = MACHINE) -> NodesPlan:
    way = constant(3e7, noise_scale)
    return plan_nodes(nodes=nodes, machine=machine, way=way, start_batch=256, max_global_batch=1 << 20)


def test_pass_times_follow_the_measured_curve() -> None:
    assert PASSES.pass_s(32) == 0.06
    assert PASSES.pass_s(80) == pytest.approx(0.12)
    assert PASSES.pass_s(1) == pytest.approx(0.03 - 7 * 0.03 / 24)
    assert PASSES.computing_s(1024, 4) == pytest.approx(2 * 0.18)
    assert PassTimes({64: 0.1}).pass_s(16) == pytest.approx(0.025)
    assert PassTimes({64: 0.1, 128: 0.15}, 256).pass_s(256) == pytest.approx(0.25)


@given(sizes=st.dictionaries(st.integers(1, 512), st.floats(1e-3, 10), min_size=1, max_size=5), m=st.integers(1, 600))
def test_a_smaller_pass_than_was_measured_is_no_quicker_a_sample(sizes: dict[int, float], m: int) -> None:
    times, least = PassTimes(sizes), min(sizes)
    if m < least:
        assert times.pass_s(m) / m >= sizes[least] / least * (1 - 1e-9)
        assert times.pass_s(m) <= sizes[least]
    assert times.pass_s(m) > 0


def test_a_step_by_hand() -> None:
    """4 V100s, 2 nodes, batch 1024: a pass of 128 each, and the sum after it."""
    sum_s = min(hierarchical_s(preset("v100"), 2, 102e6, between=way) for way in ("ring", "double tree"))
    assert MACHINE.step_s(2, 1024) == pytest.approx(0.18 + sum_s)
    assert MACHINE.step_s(2, 64) == pytest.approx(0.03 + sum_s)


def test_more_noise_is_worth_more_nodes() -> None:
    few, many = planned(500), planned(50_000)
    assert few.soonest.nodes <= many.soonest.nodes
    assert few.soonest.efficiency < many.soonest.efficiency / 10
    assert few.cheapest.nodes == many.cheapest.nodes == 1
    assert many.soonest.seconds < few.soonest.seconds
    assert few.cheapest.node_hours <= few.soonest.node_hours


def test_all_rows_are_there_and_none_is_better_than_ideal() -> None:
    plan = planned(5000)
    assert {row.nodes for row in plan.rows} == set(NODES)
    assert {row.mode for row in plan.rows} == {"strong", "weak", "best", "adaptive"}
    assert all(0 < row.efficiency <= 1 + 1e-9 for row in plan.rows)
    assert all(0 < row.learning <= 1 for row in plan.rows)


@given(noise=st.floats(10, 1e6), bandwidth=st.floats(1e8, 1e12))
@settings(max_examples=20)
def test_a_quicker_network_is_never_later(noise: float, bandwidth: float) -> None:
    def soonest_s(times: float) -> float:
        link = Link(latency_s=1e-5 / times, bandwidth_bytes_per_s=bandwidth * times)
        network = Network(within=link, between=link, ranks_per_node=2)
        machine = Machine(passes=PASSES, network=network, gradient_bytes=1e8)
        return planned(noise, nodes=[1, 4, 64], machine=machine).soonest.seconds

    assert soonest_s(2) <= soonest_s(1) * (1 + 1e-12)


def test_without_a_network_to_pay_for_all_nodes_are_as_cheap_up_to_the_noise() -> None:
    """Proportional passes, free sums, infinite noise: time is least samples over nodes, whatever the batch."""
    free = Network(
        within=Link(latency_s=0, bandwidth_bytes_per_s=math.inf),
        between=Link(latency_s=0, bandwidth_bytes_per_s=math.inf),
        ranks_per_node=1,
    )
    machine = Machine(passes=PassTimes({1: 0.001}, 4096), network=free, gradient_bytes=1e8)
    way = constant(1e6, math.inf)
    plan = plan_nodes(nodes=[1, 8, 64], machine=machine, way=way, start_batch=64, max_global_batch=4096)
    for row in plan.rows:
        assert row.seconds == pytest.approx(1000 / row.nodes)
        assert row.efficiency == pytest.approx(1)
    assert plan.soonest.nodes == 64
    assert not plan.noise_known


def test_what_is_printed() -> None:
    out = io.StringIO()
    console = Console(width=140, file=out)
    way = constant(3e7, 5000)
    plan = plan_nodes(nodes=[1, 2, 4096], machine=MACHINE, way=way, start_batch=256, max_global_batch=8192)
    for part in plan_parts(plan):
        console.print(part)
    text = out.getvalue()
    assert "soonest: 2 nodes with a fixed batch" in text
    assert "left out, more ranks than samples of the largest batch: nodes 4096" in text
    assert "node-hours" in text


def test_what_cannot_be() -> None:
    way = constant(1e6, 1e3)
    with pytest.raises(InputError, match="max_global_batch"):
        plan_nodes(nodes=[1], machine=MACHINE, way=way, start_batch=256, max_global_batch=128)
    with pytest.raises(InputError, match="nodes"):
        plan_nodes(nodes=[], machine=MACHINE, way=way, start_batch=256, max_global_batch=512)
    with pytest.raises(InputError, match="pass times"):
        PassTimes({})
    with pytest.raises(InputError, match="gradient_bytes"):
        Machine(passes=PASSES, network=preset("v100"), gradient_bytes=-1)
