"""What messages between the ranks take: sums of gradients' sizes, and a decision.

    algorithm bandwidth   bytes / time                          of one rank's buffer
    bus bandwidth         bytes / time * 2 (N - 1) / N          what a ring of N ranks moves through its slowest link

https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md. Every message of Horovod's waits for its next cycle
(HOROVOD_CYCLE_TIME, 1 ms): that is most of a small one's time, and it is in the times here, as it is in training.

Not here: the line through the times (fit.py), gradients among backward passes (steps.py).
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
    """A sum over all ranks of so many bytes of float32."""

    message_bytes: int
    time: Times
    algorithm_bytes_per_s: float
    bus_bytes_per_s: float


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A few float64 from rank 0 to all."""

    message_bytes: int
    broadcast: Times
    """By Horovod."""
    announce: Times
    """By the quickest road there is, which decisions take in training."""


@dataclass(frozen=True, kw_only=True)
class Messages:
    """What was measured between the ranks."""

    allreduce: list[Allreduce]
    """From small to large."""
    fit: Fit
    """Of the medians of ``allreduce``."""
    decision: Decision


def measure_messages(timer: Timer, *, share: float) -> Messages:
    """Times messages; call on every rank, with more than one.

    Args:
        timer: of the ranks.
        share: part of its time to take. Sizes for which that is too short are left out, from the largest down.
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
        last_s = (before_s - timer.left_s()) / 2  # of the barrier too
        round_s += last_s
    seconds = timer.rounds(works, share=share, most=MOST_ROUNDS)
    times = {key: Times.of(repeats) for key, repeats in seconds.items()}
    sums = [_allreduce(size, times[size], cluster.size) for size in SIZES if size in times]
    return Messages(
        allreduce=sums,
        fit=fit([one.message_bytes for one in sums], [one.time.median_s for one in sums]),
        decision=Decision(message_bytes=decision.nbytes, broadcast=times["broadcast"], announce=times["announce"]),
    )


def _allreduce(size: int, time: Times, n_ranks: int) -> Allreduce:
    algorithm = size / time.median_s
    bus = algorithm * 2 * (n_ranks - 1) / n_ranks
    return Allreduce(message_bytes=size, time=time, algorithm_bytes_per_s=algorithm, bus_bytes_per_s=bus)
