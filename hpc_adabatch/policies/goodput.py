"""Goodput: the batch of the most progress a second on this cluster, which samples seen count in, too.

Qiao et al. 2021 (Pollux, OSDI), https://arxiv.org/abs/2008.12260, equations 4 to 7:

    paper                                 here
    GOODPUT(m) = THROUGHPUT(m) * EFFICIENCY(m)
    THROUGHPUT(M) = M / T_iter(M)         samples a second: measured if steps of this batch were timed, else modelled
    EFFICIENCY(M) = (phi + M0)/(phi + M)  progress of a sample in a batch of M, relative to M0, which is
                                          M0 E|g_M0|^2 / (M E|g_M|^2); phi = variance / disjoint_signal, which is the
                                          noise scale where the training set is large
    as published, power = 1               ours: THROUGHPUT * EFFICIENCY ** power, 1/2 unless given
    T_iter                                seconds = a + b * passes + c * samples of a rank, a, b, c >= 0

The model of a step's time has three costs, which one job on a fixed allocation can tell apart: of a step (sum over
ranks, update), of a pass and of a sample. It is fitted to the medians of the batches timed so far, the passes by
themselves, or batches of one pass could not tell a pass from a step. If only one batch was timed, the time of its
passes grows with the batch and the rest is fixed; the measured time of a larger one then decides. A batch whose
measured throughput is below that of the present batch is never chosen, nor is a batch beyond it.

Why the power: goodput is flat about its top, where a batch makes as much progress a second as one of half its size.
After equal progress by equation 7 the larger one has seen more samples, with less noise in its steps, and is the more
accurate (docs/results/race.md). 1/2 makes the geometric mean of samples and of progress a second largest. A batch that
is no faster is still not worth its samples.

It can turn back, so it does not wait for a whole window: the interval of the noise scale says what is known by then.

When to use it: you want the run to end soonest on this machine, whatever the noise would allow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..batches.micro_batch import even, passes_and_micro_batch
from ..errors import real, require
from ..gradients import Estimate
from .measured import Measured
from .policy import Progress

CANDIDATES = 25  # batches between half and twice the present one, evenly spaced in logarithm


@dataclass(kw_only=True, eq=False)
class Goodput(Measured):
    """Goodput: a rule that moves to the batch of the most samples and progress a second within reach of one change.

    ``Measured`` explains the other arguments.

    Args:
        shrink: Allows the batch to become smaller, for example if a larger one turns out to be slower.
        power: Power of the efficiency: 1 is goodput as published, and 0 the throughput alone.

    Raises:
        InputError: An argument is out of range.
    """

    any_geometry: ClassVar[bool] = True
    waits: ClassVar[bool] = False
    shrink: bool = True
    power: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= real(self.power) <= 1, "policy.power", self.power, "0 to 1", "--policy.power 0.5")

    def wanted(self, estimate: Estimate, progress: Progress) -> float:
        now, timed = progress.global_batch, progress.step_seconds
        if now not in timed:
            return float(now)  # not timed yet
        model = StepTime(timed, progress.pass_seconds, progress.n_ranks, progress.max_micro_batch)
        # candidates: even batches within one change's reach, the present batch and those timed
        high = min(now * self.growth, progress.max_global_batch)
        ranks, micro, most = progress.n_ranks, progress.max_micro_batch, progress.max_global_batch
        grid = np.geomspace(max(1.0, now / self.growth), high, CANDIDATES)
        candidates = {now} | {even(float(size), ranks, micro, least=1, most=most) for size in grid}
        candidates |= {size for size in timed if now / self.growth <= size <= high}
        # measured times rule out a slower batch and all beyond it, above and below
        slower = [size for size, seconds in timed.items() if size / seconds < now / timed[now]]
        below = max((size for size in slower if size < now), default=0)
        above = min((size for size in slower if size > now), default=math.inf)
        faster = [size for size, seconds in timed.items() if size / seconds > now / timed[now]]
        falls = any(size < now for size in faster)  # then only what was timed can be faster above
        upwards = [size for size in candidates if now < size < above and (not falls or size in faster)]
        allowed = upwards + [size for size in candidates if below < size <= now]

        common = estimate.disjoint_signal
        noise_scale = estimate.variance / common if common > 0 else math.inf

        def goodput(size: int) -> float:
            return size / model(size) * efficiency(size, noise_scale, progress.start_batch) ** self.power

        # the best of the rest, if it is better than the present batch by more than the tolerance
        best = max(allowed, key=lambda size: (goodput(size), -size))
        return float(best) if goodput(best) > goodput(now) * (1 + self.tolerance) else float(now)


def efficiency(batch: float, noise_scale: float, start_batch: float) -> float:
    """Returns a sample's progress in this batch relative to ``start_batch``: (phi + M0) / (phi + M), equation 7."""
    return 1.0 if np.isinf(noise_scale) else (noise_scale + start_batch) / (noise_scale + batch)


class StepTime:
    """A function from global batch to seconds of a step: the measured median, or else the model's value.

    Args:
        timed: Median seconds of a step by global batch; at least one entry.
        passes: Median seconds of its passes, for the same batches.
        n_ranks: Number of ranks that share a batch.
        max_micro_batch: Largest micro-batch, in samples; None if there is no limit.
    """

    def __init__(
        self, timed: Mapping[int, float], passes: Mapping[int, float], n_ranks: int, max_micro_batch: int | None
    ) -> None:
        self._timed, self._n_ranks, self._micro = timed, n_ranks, max_micro_batch
        rows, seconds = np.array([self._row(batch) for batch in timed]), np.array(list(timed.values()))
        of_passes = np.minimum([passes[batch] for batch in timed], seconds)
        if len(timed) == 1:
            self._costs = np.array([seconds[0] - of_passes[0], 0.0, of_passes[0] / rows[0, 2]])
        else:
            from scipy.optimize import nnls  # here, because its import takes a third of a second, on every rank

            relative = rows / seconds[:, None]
            self._costs = np.zeros(3)
            self._costs[[1, 2]] += nnls(relative[:, [1, 2]], of_passes / seconds)[0]
            self._costs[[0, 2]] += nnls(relative[:, [0, 2]], 1 - of_passes / seconds)[0]  # a GPU's passes end in it

    def __call__(self, global_batch: int) -> float:
        if global_batch in self._timed:
            return self._timed[global_batch]
        return float(self._row(global_batch) @ self._costs)

    def _row(self, batch: int) -> np.ndarray:
        passes, micro_batch = passes_and_micro_batch(batch, self._n_ranks, self._micro or batch)
        return np.array([1.0, passes, passes * micro_batch])
