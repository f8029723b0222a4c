"""Times of what all ranks do together, in interleaved rounds.

    round 1   barrier A   barrier B   barrier C         each piece of work once, so that a disturbance
    round 2   barrier B   barrier C   barrier A         of the machine meets all of them alike

A repeat takes as long as on its slowest rank. How many rounds there are, rank 0 decides from its clock and tells.

Not here: the work (messages.py, steps.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from ..cluster import Cluster

Key = TypeVar("Key")
Work = Callable[[], object]  # with communication: the same on every rank, in the same order

WARM_ROUNDS = 2  # the first makes buffers and connections, the second still learns their names
LEAST_ROUNDS = 5  # below, quartiles say nothing


@dataclass(frozen=True, kw_only=True)
class Times:
    """Repeats of one thing, in seconds."""

    median_s: float
    lower_quartile_s: float
    upper_quartile_s: float
    repeats: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        """Of the repeats, at least one; quartiles interpolate between them."""
        lower, median, upper = np.percentile(seconds, [25, 50, 75]).tolist()
        return cls(median_s=median, lower_quartile_s=lower, upper_quartile_s=upper, repeats=len(seconds))


class Timer:
    """A clock that all ranks follow.

    Args:
        cluster: the ranks.
        seconds: there are from now on.
    """

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self.cluster, self.seconds = cluster, seconds
        self._end_s = time.perf_counter() + seconds

    def left_s(self) -> float:
        """Seconds left, by the clock of this rank; below 0 after the end."""
        return self._end_s - time.perf_counter()

    def allows(self, seconds: float) -> bool:
        """Whether so many seconds are left: rank 0's answer, on every rank."""
        return bool(self.cluster.tell(self.left_s() >= seconds))

    def once(self, work: Work) -> float:
        """Seconds that it takes this rank, begun with all others, and finished on its device."""
        self.cluster.barrier()
        began_s = time.perf_counter()
        work()
        if self.cluster.device.type == "cuda":
            torch.cuda.synchronize(self.cluster.device)
        return time.perf_counter() - began_s

    def rounds(self, works: Mapping[Key, Work], *, share: float, most: int) -> dict[Key, list[float]]:
        """Repeats everything in turn, after ``WARM_ROUNDS`` whose times are forgotten.

        Args:
            works: what to time.
            share: part of the seconds left that this may take; ``LEAST_ROUNDS`` are done anyway.
            most: rounds.

        Returns:
            Seconds of each repeat on its slowest rank, the same on every rank, in the order of the rounds.
        """
        end_s = self._end_s - (1 - share) * self.left_s()
        for _ in range(WARM_ROUNDS):
            for work in works.values():
                self.once(work)
        keys = list(works)
        mine: dict[Key, list[float]] = {key: [] for key in keys}
        done, began_s = 0, time.perf_counter()
        while more := self._more(done, most, began_s, end_s):
            for number in range(done, done + more):
                turn = number % len(keys)
                for key in keys[turn:] + keys[:turn]:
                    mine[key].append(self.once(works[key]))
            done += more
        everyone = self.cluster.gather(list(mine.values()))  # (ranks, works, rounds)
        return dict(zip(keys, np.max(everyone, axis=0).tolist(), strict=True))

    def on_every_rank(self, works: Mapping[Key, Work], *, warmup: int, rounds: int) -> dict[Key, np.ndarray]:
        """Repeats everything in turn so many times.

        Args:
            works: what to time.
            warmup: rounds whose times are forgotten.
            rounds: that count.

        Returns:
            Seconds, (ranks, rounds) each, the same on every rank.
        """
        keys = list(works)
        mine: dict[Key, list[float]] = {key: [] for key in keys}
        for number in range(warmup + rounds):
            turn = number % len(keys)
            for key in keys[turn:] + keys[:turn]:
                mine[key].append(self.once(works[key]))
        everyone = np.array(self.cluster.gather(list(mine.values())))[:, :, warmup:]  # (ranks, works, rounds)
        return {key: everyone[:, index] for index, key in enumerate(keys)}

    def _more(self, done: int, most: int, began_s: float, end_s: float) -> int:
        """Rounds to go on for: half of what the time left would allow, because the next may take longer than these."""
        if done == 0:
            return LEAST_ROUNDS
        now_s = time.perf_counter()
        affordable = int((end_s - now_s) / ((now_s - began_s) / done))
        return int(self.cluster.tell(max(0, min(-(-affordable // 2), most - done))))
