"""Cases: the noise of the gradient averaged over steps, and its interval, beside the gradients of all samples."""

from __future__ import annotations

from itertools import accumulate
from math import exp
from typing import Any

import hpc_adabatch as hab
from hpc_adabatch.gradients import Measurement, Smoother

from .case import Case, Pair
from .equations import noise
from .noise import FOREVER, Sides, at_rest, content, gradients
from .problem import Problem


def averages(window: int = FOREVER, batch: int = 12, **how: Any) -> Sides:
    """Returns the sides of a case: variance, signal and noise scale, averaged over three epochs of 60 samples.

    Args:
        window: samples over which a measurement fades.
        batch: the batch.
        how: what else ``watch`` takes.
    """

    def sides(cluster: hab.Cluster) -> Pair:
        run = at_rest(cluster, Problem(60), batch=batch, micro=3, epochs=3, rule=lambda: content(window), **how)
        seen = accumulate(step.batch for step in run.steps)
        kept = [(at, gradients(run, step.pieces)) for at, step in zip(seen, run.steps, strict=True) if not step.skipped]
        weights = [noise.weight(pieces) * exp((at - kept[-1][0]) / window) for at, pieces in kept]
        variance = noise.average([noise.variance(pieces) for _, pieces in kept], weights)
        signal = noise.average([noise.signal(pieces, 60) for _, pieces in kept], weights)
        found = run.steps[-1].estimate
        return [variance, signal, variance / signal], [found.variance, found.signal, found.noise_scale]

    return sides


def interval(measurements: int) -> Sides:
    """Returns the sides of a case: the ends of the interval of the noise scale, after so many measurements.

    One step of each epoch is measured: batches of the same epoch share no sample, so they are not independent.
    """

    def sides(cluster: hab.Cluster) -> Pair:
        run = at_rest(cluster, Problem(48), batch=12, micro=3, epochs=measurements, every=4)
        pieces = [gradients(run, step.pieces) for step in run.steps if step.last is not None]
        found = run.steps[-1].estimate
        each = [noise.variance(one) for one in pieces], [noise.signal(one, 48) for one in pieces]
        return noise.interval(*each), (found.low, found.high)

    return sides


def moving_together() -> Pair:
    """Returns the ends of the interval for three made-up steps whose variance is their signal less about 1.8.

    No t-test rejects a ratio of 0, nor one of 1000, nor the estimate; ratios near 1 are rejected.
    """
    variances, signals = [0.2, 0.41, 28.2], [2.0, 2.2, 30.0]
    smoother = Smoother(FOREVER)
    for variance, signal in zip(variances, signals, strict=True):
        square = signal + variance / 64  # a batch of 64 in two pieces, drawn from ever more samples
        smoother.add(Measurement(square_sum=variance + 64 * square, mean_square=square, samples=64, pieces=2), 64)
    found = smoother.read()
    assert found is not None
    return noise.interval(variances, signals), (found.low, found.high)


OURS = "ours (docs/statistics.md)"
CASES = [
    Case(
        paper="McCandlish et al. 1812.06162, appendix A.1: B_simple",
        text="variance, signal, noise scale: means over 15 steps",
        run=averages(),
    ),
    Case(
        paper=OURS,
        text="variance, signal, noise scale: weights exp(-age / 120 samples), a restart after step 7",
        run=averages(120, restarts=(6,)),
    ),
    Case(
        paper=OURS,
        text="variance, signal, noise scale: step 5 is skipped, its loss is infinite on one rank",
        run=averages(spoiled=(4,)),
    ),
    Case(
        paper=OURS,
        text="variance, signal, noise scale: B = 23, 23, 14, three times; a step weighs B (n - 1) / n, n its passes",
        run=averages(batch=23),
    ),
    Case(
        paper="Fieller 1954",
        text="95 % interval of the noise scale: 24 steps, one an epoch; a t-test inverted by bisection",
        run=interval(24),
    ),
    Case(
        paper="Fieller 1954",
        text="95 % interval of the noise scale: 3 steps, too few to tell the signal from 0",
        run=interval(3),
    ),
    Case(
        paper="Fieller 1954",
        text="95 % interval of the noise scale: 3 made-up steps whose variance and signal move together",
        run=lambda _: moving_together(),
        ranks=(1,),
    ),
]
