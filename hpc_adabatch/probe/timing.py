"""Times of work that all ranks do together, in interleaved rounds.

    round 1   barrier A   barrier B   barrier C         a round does each piece of work once, so that
    round 2   barrier B   barrier C   barrier A         a disturbance of the machine meets all alike

The time of a repeat is that on its slowest rank. Rank 0 decides by its clock how many rounds there are.
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
Work = Callable[[], object]
"""A piece of work; one that communicates is done by every rank, in the same order."""

WARM_ROUNDS = 2  # the first makes buffers and connections; in the second Horovod still negotiates their names
LEAST_ROUNDS = 5  # quartiles of fewer say nothing


@dataclass(frozen=True, kw_only=True)
class Times:
    """Median and quartiles of repeats, in seconds."""

    median_s: float
    """The median."""
    lower_quartile_s: float
    """The lower quartile."""
    upper_quartile_s: float
    """The upper quartile."""
    repeats: int
    """The number of repeats."""

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        """Returns the median and the quartiles, which interpolate between repeats.

        Args:
            seconds: The time of each repeat; at least one.
        """
        lower, median, upper = np.percentile(seconds, [25, 50, 75]).tolist()
        return cls(median_s=median, lower_quartile_s=lower, upper_quartile_s=upper, repeats=len(seconds))


class Timer:
    """A clock that all ranks follow.

    Args:
        cluster: The ranks.
        seconds: The time there is, from now on.
    """

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self.cluster, self.seconds = cluster, seconds
        self._end_s = time.perf_counter() + seconds

    def left_s(self) -> float:
        """Returns the seconds left by the clock of this rank; below 0 after the end."""
        return self._end_s - time.perf_counter()

    def allows(self, seconds: float) -> bool:
        """Reports whether so many seconds are left; every rank gets rank 0's answer."""
        return bool(self.cluster.tell(self.left_s() >= seconds))

    def once(self, work: Work) -> float:
        """Returns the seconds of the work on this rank, begun with all others and finished on its device."""
        self.cluster.barrier()
        began_s = time.perf_counter()
        work()
        if self.cluster.device.type == "cuda":
            torch.cuda.synchronize(self.cluster.device)
        return time.perf_counter() - began_s

    def rounds(self, works: Mapping[Key, Work], *, share: float, most: int) -> dict[Key, list[float]]:
        """Repeats all work in turn, after ``WARM_ROUNDS`` whose times are forgotten.

        Args:
            works: The work to time, by key.
            share: The part of the seconds left that this may take; ``LEAST_ROUNDS`` are done anyway.
            most: The largest number of rounds.

        Returns:
            Seconds of each repeat by key, on its slowest rank, in the order of the rounds; alike on every rank.
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
        """Repeats all work in turn, a given number of times.

        Args:
            works: The work to time, by key.
            warmup: The number of rounds whose times are forgotten.
            rounds: The number of rounds that count.

        Returns:
            Seconds of each repeat by key, on each rank, (ranks, rounds); alike on every rank.
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
        """Returns how many rounds follow: half of what the time left allows, for they may take longer than before."""
        if done == 0:
            return LEAST_ROUNDS
        now_s = time.perf_counter()
        affordable = int((end_s - now_s) / ((now_s - began_s) / done))
        return int(self.cluster.tell(max(0, min(-(-affordable // 2), most - done))))
