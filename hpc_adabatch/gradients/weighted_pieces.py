"""A measurement from pieces whose mean is not taken by their samples, as a loop of somebody else may take it.

DistributedDataParallel and Horovod average the gradients of ranks alike, however many samples each has. So the mean is
g = sum w_i g_i, with weights w_i that sum to 1. With V one sample's variance and N the samples of the training set,

    E |g|^2              =  |grad l|^2 + V (sum w_i^2 / b_i - 1/N)
    E sum w_i |g_i|^2    =  |grad l|^2 + V (sum w_i / b_i - 1/N)

so their difference has V without bias, and is never negative. These are the formulas of noise.py for a batch of

    B' = 1 / (sum w_i^2 / b_i) samples in n' = B' sum w_i / b_i pieces        w_i = b_i / B has B' = B and n' = n
"""

from __future__ import annotations

from collections.abc import Sequence

from .noise import Measurement

ROUNDING = 1e-9  # of a batch or a number of pieces that is whole


def terms(samples: int, weight: float) -> list[float]:
    """Returns what a piece adds to the sums n, B, sum w, sum w / b and sum w^2 / b.

    Args:
        samples: Samples of the piece, b.
        weight: Weight of the piece beside the others, w in any unit.
    """
    return [1.0, float(samples), weight, weight / samples, weight**2 / samples]


def measurement(sums: Sequence[float], square_sum: float, mean_square: float, population: int | None) -> Measurement:
    """Returns the measurement of a step.

    Args:
        sums: The sums of ``terms`` over all pieces, of which there are two or more.
        square_sum: Sum over pieces of w_i |g_i|^2, for weights that sum to 1.
        mean_square: Squared length of the mean gradient, |g|^2.
        population: Samples of the training set, N; None where samples are drawn independently.
    """
    _, _, weights, over_samples, squares_over_samples = sums
    samples = _whole(weights**2 / squares_over_samples)
    return Measurement(
        square_sum=samples * square_sum,
        mean_square=mean_square,
        samples=samples,
        pieces=_whole(samples * over_samples / weights),
        population=population,
    )


def _whole(number: float) -> float:
    """Returns the whole number that rounding has moved this one from, if it has."""
    nearest = round(number)
    return nearest if abs(number - nearest) <= ROUNDING * number else number
