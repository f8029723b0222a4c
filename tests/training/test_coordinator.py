"""Rank 0 is asked once a phase, within bounds, and every other rank takes its word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpc_adabatch import AdaBatch, Policy
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.gradients import Estimate
from hpc_adabatch.policies import Progress, Proposal
from hpc_adabatch.training.coordinator import Coordinator, Decision


def at(samples_seen: int, *, maximum: int = 1000) -> Progress:
    return Progress(
        samples_seen=samples_seen,
        samples_per_epoch=100,
        start_batch=10,
        global_batch=10,
        max_global_batch=maximum,
    )


class Every100Samples(Policy):
    """Wants a given batch from each hundred samples on, and remembers how often it was asked."""

    def __init__(self, batch: int = 20) -> None:
        self.batch = batch
        self.asked: list[int] = []

    def phase(self, progress: Progress) -> int:
        return progress.samples_seen // 100

    def propose(self, progress: Progress) -> Proposal:
        self.asked.append(progress.samples_seen)
        return Proposal(global_batch=self.batch, learning_rate_factor=0.1 * len(self.asked), reason="because")

    def state_dict(self) -> dict[str, Any]:
        return {"asked": list(self.asked)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.asked = list(state["asked"])


class Follower(SingleProcess):
    """Rank 1 of two, to which rank 0 says this."""

    rank = 1
    size = 2

    def __init__(self, message: list[float]) -> None:
        self.message = message

    def announce(self, numbers: list[float]) -> list[float]:
        assert len(numbers) == len(self.message)
        return self.message


def started(policy: Policy, cluster: SingleProcess | None = None) -> Coordinator:
    coordinator = Coordinator(cluster or SingleProcess(), policy)
    coordinator.start(at(0))
    return coordinator


def test_the_policy_is_asked_only_when_its_phase_changes() -> None:
    policy = Every100Samples()
    coordinator = started(policy)
    decisions = [coordinator.decide(at(seen)) for seen in range(0, 500, 30)]
    assert policy.asked == [120, 210, 300, 420]
    assert [decision.samples_seen for decision in decisions if decision is not None] == policy.asked


def test_a_decision_says_what_holds_from_where_and_why() -> None:
    decision = started(Every100Samples(20)).decide(at(130))
    assert decision == Decision(global_batch=20, learning_rate_factor=0.1, samples_seen=130, pace=1, reason="because")


def test_the_start_counts_as_decided() -> None:
    policy = Every100Samples()
    coordinator = Coordinator(SingleProcess(), policy)
    coordinator.start(at(250))
    assert coordinator.decide(at(299)) is None
    assert coordinator.decide(at(300)) is not None


@pytest.mark.parametrize(("wanted", "bounded"), [(-5, 1), (0, 1), (1, 1), (77, 77), (78, 77), (10**12, 77)])
def test_proposals_are_bounded(wanted: int, bounded: int) -> None:
    decision = started(Every100Samples(wanted)).decide(at(100, maximum=77))
    assert decision is not None
    assert decision.global_batch == bounded


def test_a_measurement_is_made_known_without_asking_the_policy() -> None:
    """AdaScale's noise and the pace of measuring reach all ranks, whatever the rule."""
    policy = Every100Samples()
    coordinator = started(policy)
    estimate = Estimate(variance=8.0, signal=2.0, mean_square=3.0, low=1.0, high=9.0, steps=4.0, samples=50, full=True)
    now = replace(at(50), measurements=1, estimate=estimate, learning_rate_factor=0.3)
    decision = coordinator.decide(now, pace=12)
    assert decision == Decision(global_batch=10, learning_rate_factor=0.3, samples_seen=50, pace=12, noise=(8.0, 2.0))
    assert coordinator.decide(now, pace=12) is None
    assert policy.asked == []


def test_large_numbers_arrive_whole() -> None:
    batch, seen = 2**40 + 1, 2**50 + 1
    decision = started(Every100Samples(batch)).decide(at(seen, maximum=2**41))
    assert decision is not None
    assert (decision.global_batch, decision.samples_seen) == (batch, seen)


@pytest.mark.parametrize("stop_at", range(0, 500, 30))
def test_a_restart_goes_on_with_the_same_decisions(stop_at: int) -> None:
    whole, before, after = started(Every100Samples()), started(Every100Samples()), started(Every100Samples())
    cursors = range(0, 500, 30)
    uninterrupted = [whole.decide(at(seen)) for seen in cursors]
    resumed = [before.decide(at(seen)) for seen in cursors if seen <= stop_at]
    after.load_state_dict(before.state_dict())
    resumed += [after.decide(at(seen)) for seen in cursors if seen > stop_at]
    assert resumed == uninterrupted
    assert after.state_dict() == whole.state_dict()


def test_a_rank_that_follows_takes_the_word_of_rank_0() -> None:
    policy = Every100Samples()
    decision = started(policy, Follower([40, 0.5, 100, 7, 3.0, 2.0])).decide(at(100))
    assert decision == Decision(global_batch=40, learning_rate_factor=0.5, samples_seen=100, pace=7, noise=(3.0, 2.0))
    assert policy.asked == []


def test_ranks_at_different_cursors_are_told_apart() -> None:
    with pytest.raises(RuntimeError, match="rank 1 is at sample 110, rank 0 at 100"):
        started(Every100Samples(), Follower([40, 0.5, 100, 7, 3.0, 2.0])).decide(at(110))


def test_adabatch_is_asked_at_the_end_of_its_interval() -> None:
    coordinator = started(AdaBatch(factor=2, interval=2, lr_factor=0.75))
    decisions = {seen: coordinator.decide(at(seen, maximum=30)) for seen in range(0, 601, 10)}
    made = {seen: (d.global_batch, d.learning_rate_factor) for seen, d in decisions.items() if d is not None}
    assert made == {200: (20, 0.75), 400: (30, pytest.approx(0.75**2 * 0.75)), 600: (30, pytest.approx(0.75**4 * 0.5))}
