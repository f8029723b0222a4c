"""AdaBatch against the authors' loop, its effective learning rate, and its number of updates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpc_adabatch import AdaBatch, Fixed, InputError, Policy
from hpc_adabatch.batches import BatchPlan
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.policies import Progress
from hpc_adabatch.training.coordinator import Coordinator


def at(samples_seen: int, start_batch: int, *, n_samples: int = 50_000, maximum: int = 10**9) -> Progress:
    return Progress(
        samples_seen=samples_seen,
        samples_per_epoch=n_samples,
        start_batch=start_batch,
        global_batch=start_batch,
        max_global_batch=maximum,
    )


def steps(policy: Policy, start_batch: int, *, n_samples: int, epochs: int) -> Iterator[tuple[int, int, float]]:
    """Epoch, global batch and learning-rate factor of every step of a run."""
    plan, batch, factor = BatchPlan(n_samples, 0), start_batch, 1.0
    coordinator = Coordinator(SingleProcess(), policy)
    coordinator.start(at(0, start_batch, n_samples=n_samples, maximum=n_samples))
    for epoch in range(epochs):
        while not plan.epoch_finished:
            yield epoch, batch, factor
            plan.advance(plan.cut(batch))
            decision = coordinator.decide(at(plan.samples_seen, start_batch, n_samples=n_samples, maximum=n_samples))
            if decision is not None:
                batch, factor = decision.global_batch, decision.learning_rate_factor
        plan.next_epoch()


def authors(
    *,
    micro: int,
    acc: float,
    a0: float,
    T: int,
    beta: float,
    d: float,
    W: int = 0,
    r_base: int = 1,
    N: int,
    E: int = 100,
) -> Iterator[tuple[float, float]]:
    """Batch r and learning rate a of every epoch: the authors' loop in their letters (NVlabs/AdaBatch, e8d0de6)."""
    r0 = r = micro * acc
    a = a0
    for e in range(E):
        yield r, a
        if e + 1 < W:
            a += (a0 * r0 / r_base - a0) / (W - 1)
        if (e + 1) % T == 0:
            extra = 1.0
            if acc == 1:
                r = math.floor(r * beta)
            else:
                acc = acc * beta
                if acc * micro > N:
                    extra = (N // micro) / acc
                    acc = N // micro
                r = micro * acc
            a *= d * extra


@pytest.mark.parametrize(
    ("micro", "acc", "a0", "T", "beta", "d", "W", "r_base"),
    [
        (128, 1, 0.01, 20, 2.0, 0.75, 0, 1),  # CIFAR, one GPU
        (128, 1, 0.01, 20, 1.0, 0.375, 0, 1),  # its fixed arm
        (1024, 1, 0.1, 20, 2.0, 0.5, 5, 128),  # CIFAR, four GPUs
        (256, 2, 0.2, 30, 1.0, 0.1, 5, 256),  # ImageNet, accumulated, batch fixed
        (100, 1, 0.1, 7, 1.5, 0.9, 0, 1),  # floors
        (64, 1, 0.3, 10, 3.0, 1.2, 10, 640),  # a warm-up that goes down, as long as the interval
        (64, 1, 0.3, 2, 1.1, 0.9, 2, 32),  # the shortest warm-up
        (128, 8, 0.1, 10, 4.0, 0.5, 5, 128),  # accumulated, cut at 390 micro-batches
        (512, 2, 0.1, 20, 8.0, 0.8, 0, 1),  # accumulated, cut at 97 micro-batches
    ],
)
def test_100_epochs_equal_the_authors_loop(
    micro: int, acc: int, a0: float, T: int, beta: float, d: float, W: int, r_base: int
) -> None:
    n_samples, start = 50_000, micro * acc
    policy = AdaBatch(factor=beta, interval=T, lr_factor=d, warmup_epochs=W, baseline_batch=r_base if W else None)
    reference = authors(micro=micro, acc=acc, a0=a0, T=T, beta=beta, d=d, W=W, r_base=r_base, N=n_samples)
    maximum = 10**9 if acc == 1 else n_samples // micro * micro
    for epoch, (r, a) in enumerate(reference):
        proposal = policy.propose(at(epoch * n_samples, start, maximum=maximum))
        assert proposal.global_batch == r
        assert a0 * proposal.learning_rate_factor == pytest.approx(a, rel=1e-12)


def test_growth_and_decay_share_the_effective_learning_rate() -> None:
    """Doubling with factor 0.75 decays a/r exactly as a fixed batch with factor 0.375."""
    growing, fixed = AdaBatch(factor=2, lr_factor=0.75), AdaBatch(factor=1, lr_factor=0.375)
    for epoch in range(100):
        one, other = (policy.propose(at(epoch * 50_000, 128)) for policy in (growing, fixed))
        assert one.learning_rate_factor / one.global_batch == other.learning_rate_factor / other.global_batch


def test_the_warm_up_goes_epoch_by_epoch_to_its_target() -> None:
    """From a0 in epoch 0 to a0 * r0 / r_base when W - 1 epochs are done."""
    policy = AdaBatch(warmup_epochs=5, baseline_batch=128, interval=20)
    run = [(epoch, factor) for epoch, _, factor in steps(policy, 1024, n_samples=3000, epochs=20)]
    assert [factor for _, factor in sorted(set(run))] == [1.0, 2.75, 4.5, 6.25, *[8.0] * 16]


def test_the_batch_grows_at_the_end_of_every_interval() -> None:
    run = steps(AdaBatch(factor=2, interval=20, lr_factor=0.75), 128, n_samples=5000, epochs=100)
    stretches = [(key, [epoch for epoch, *_ in group]) for key, group in groupby(run, key=lambda step: step[1:])]
    assert [key for key, _ in stretches] == [(128 * 2**n, 0.75**n) for n in range(5)]
    assert [(epochs[0], epochs[-1]) for _, epochs in stretches] == [(0, 19), (20, 39), (40, 59), (60, 79), (80, 99)]


def test_four_doublings_save_the_published_number_of_updates() -> None:
    """39,000 -> 15,080 on 50,000 samples where ragged batches are dropped; here the last steps share them."""
    fixed, grown = (
        sum(1 for _ in steps(policy, 128, n_samples=50_000, epochs=100)) for policy in (Fixed(), AdaBatch())
    )
    assert fixed == 100 * round(50_000 / 128) == 39_100
    assert grown == 20 * sum(round(50_000 / batch) for batch in (128, 256, 512, 1024, 2048)) == 15_140
    assert fixed == pytest.approx(39_000, rel=0.01)
    assert grown == pytest.approx(15_080, rel=0.01)
    assert fixed / grown == pytest.approx(2.58, rel=0.01)


@given(st.integers(1, 10), st.floats(0.05, 4), st.integers(1, 4096), st.integers(0, 10**6), st.integers(0, 8))
def test_growth_cut_short_keeps_the_effective_learning_rate(
    factor: int, lr_factor: float, start_batch: int, room: int, n_changes: int
) -> None:
    policy, maximum = AdaBatch(factor=factor, lr_factor=lr_factor), start_batch + room
    free_batch, free_rate = policy.trajectory(n_changes, start_batch, 10**18)
    batch, rate = policy.trajectory(n_changes, start_batch, maximum)
    assert batch == min(free_batch, maximum)
    assert rate / batch == pytest.approx(free_rate / free_batch, rel=1e-9)


@settings(derandomize=True)
@given(st.floats(1.25, 8), st.integers(4, 4096), st.integers(0, 8))
@example(1.5, 5, 6)  # ended at 0.024 of the learning rate instead of 0.016
def test_at_the_maximum_the_learning_rate_takes_the_whole_factor(factor: float, maximum: int, n_changes: int) -> None:
    """Bug story: with factor 1.5 a batch of 5 was said to want 7, not 7.5, and a/r drifted at every change."""
    batch, rate = AdaBatch(factor=factor, lr_factor=0.75).trajectory(n_changes, maximum, maximum)
    assert batch == maximum
    assert rate == pytest.approx((0.75 / factor) ** n_changes, rel=1e-9)


@given(
    st.integers(1, 600),
    st.sampled_from([0, 2, 3, 7]),
    st.integers(7, 30) | st.floats(7, 30),
    st.integers(0, 120),
    st.integers(-2, 1),
)
def test_proposals_change_only_with_the_phase(
    n_samples: int, warmup: int, interval: float, epoch: int, offset: int
) -> None:
    policy, seen = (
        AdaBatch(interval=interval, warmup_epochs=warmup, baseline_batch=16 if warmup else None),
        epoch * n_samples,
    )
    before, after = (at(max(0, seen + offset + by), 64, n_samples=n_samples, maximum=10**6) for by in (0, 1))
    (batch, factor), (next_batch, next_factor) = (
        (proposal.global_batch, proposal.learning_rate_factor) for proposal in map(policy.propose, (before, after))
    )
    same = (batch, factor) == (next_batch, next_factor)
    assert same == (policy.phase(before) == policy.phase(after))


@pytest.mark.parametrize("interval", [0.5, 0.1, 0.3, 2.5])
def test_the_changes_of_a_fractional_interval_do_not_drift(interval: float) -> None:
    """Bug story: 40 intervals of half an epoch of 1797 samples took 20 samples less than 20 epochs."""
    policy = AdaBatch(interval=interval)
    for n_changes in range(1, 400):
        due = n_changes * interval * 1797
        assert policy.changes(at(math.floor(due - 1), 64, n_samples=1797)) == n_changes - 1
        assert policy.changes(at(math.ceil(due), 64, n_samples=1797)) == n_changes


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("factor", {"factor": 0.5}),
        ("factor", {"factor": math.nan}),
        ("interval", {"interval": 0}),
        ("interval", {"interval": -1}),
        ("lr_factor", {"lr_factor": 0}),
        ("lr_factor", {"lr_factor": -0.75}),
        ("warmup_epochs", {"warmup_epochs": 1, "baseline_batch": 128}),
        ("warmup_epochs", {"warmup_epochs": -5, "baseline_batch": 128}),
        ("warmup_epochs", {"warmup_epochs": 21, "baseline_batch": 128}),
        ("baseline_batch", {"warmup_epochs": 5}),
        ("baseline_batch", {"baseline_batch": 128}),
        ("baseline_batch", {"warmup_epochs": 5, "baseline_batch": 0}),
        ("factor", {"factor": math.inf}),
        ("interval", {"interval": math.inf}),
        ("lr_factor", {"lr_factor": math.inf}),
    ],
)
def test_a_parameter_that_cannot_work_is_named(field: str, arguments: dict[str, float]) -> None:
    with pytest.raises(InputError) as caught:
        AdaBatch(**arguments)  # type: ignore[arg-type]
    assert caught.value.field == f"policy.{field}"
