"""How long messages between the ranks take: sums of gradients, by their size, and a decision.

    algorithm bandwidth   bytes / time                          bytes of one rank's buffer
    bus bandwidth         bytes / time * 2 (N - 1) / N          bytes that a ring of N ranks sends over its slowest link

https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md. Horovod starts messages once a cycle
(HOROVOD_CYCLE_TIME, 0.5 ms here). Waiting for it is a good part of a small message's time; the times here include it,
as those of training do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from .fit import Fit, fit
from .timing import LEAST_ROUNDS, WARM_ROUNDS, Timer, Times, Work

SIZES = tuple(2**power for power in range(10, 27, 2))  # bytes: 1 KiB, 4 KiB, ... 64 MiB
DECISION_NUMBERS = 6  # as coordinator.py sends them
MOST_ROUNDS = 1000


@dataclass(frozen=True, kw_only=True)
class Allreduce:
    """The time of a float32 sum over all ranks."""

    message_bytes: int
    """The size of one rank's buffer."""
    time: Times
    """Seconds on the slowest rank."""
    algorithm_bytes_per_s: float
    """The buffer's bytes over the median time."""
    bus_bytes_per_s: float
    """The bytes that a ring would send over its slowest link, over the median time."""


@dataclass(frozen=True, kw_only=True)
class DecisionTimes:
    """The time of a decision: a few float64 numbers from rank 0 to all."""

    message_bytes: int
    """The size of the decision."""
    broadcast: Times
    """Seconds of the engine's broadcast."""
    announce: Times
    """Seconds of ``Cluster.announce``, by which training sends decisions."""


@dataclass(frozen=True, kw_only=True)
class Messages:
    """The times of messages between the ranks."""

    allreduce: list[Allreduce]
    """Sums over the ranks, from small to large."""
    fit: Fit
    """The line through the medians of ``allreduce``."""
    decision: DecisionTimes
    """The times of a decision."""


def measure_messages(timer: Timer, *, share: float) -> Messages:
    """Measures how long messages take; call it on every rank, of which there must be more than one.

    Args:
        timer: The ranks' clock.
        share: The part of the timer's seconds to use. Sizes for which it is too short are left out, from the largest
            down.
    """
    cluster = timer.cluster
    decision = torch.zeros(DECISION_NUMBERS, dtype=torch.float64)
    works: dict[int | str, Work] = {
        "broadcast": partial(cluster.broadcast_, decision, "probe.broadcast"),
        "announce": partial(cluster.announce, [0.0] * DECISION_NUMBERS),
    }
    round_s = last_s = 0.0
    for size in SIZES:
        # four times the bytes take at most about four times as long
        predicted_s = (WARM_ROUNDS + LEAST_ROUNDS) * (round_s + 4 * last_s)
        if size > SIZES[1] and not timer.allows(predicted_s / share):
            break
        buffer = torch.zeros(size // 4, device=cluster.device)  # zeros, because a thousand sums of ones overflow
        works[size] = partial(cluster.allreduce_, buffer, f"probe.allreduce.{size}")
        before_s = timer.left_s()
        timer.once(works[size])
        timer.once(works[size])
        last_s = (before_s - timer.left_s()) / 2  # the barrier's time included
        round_s += last_s
    seconds = timer.rounds(works, share=share, most=MOST_ROUNDS)
    times = {key: Times.of(repeats) for key, repeats in seconds.items()}
    sums = [_allreduce(size, times[size], cluster.size) for size in SIZES if size in times]
    return Messages(
        allreduce=sums,
        fit=fit([one.message_bytes for one in sums], [one.time.median_s for one in sums]),
        decision=DecisionTimes(message_bytes=decision.nbytes, broadcast=times["broadcast"], announce=times["announce"]),
    )


def _allreduce(size: int, time: Times, n_ranks: int) -> Allreduce:
    algorithm = size / time.median_s
    bus = algorithm * 2 * (n_ranks - 1) / n_ranks
    return Allreduce(message_bytes=size, time=time, algorithm_bytes_per_s=algorithm, bus_bytes_per_s=bus)
