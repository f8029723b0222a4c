"""Measurements of a variance and a signal that are wanted."""

from __future__ import annotations

from hpc_adabatch.gradients import Measurement


def measurement(
    variance: float, signal: float, samples: int = 64, pieces: int = 2, population: int | None = None
) -> Measurement:
    mean_square = signal + variance * (1 / samples - (1 / population if population else 0))
    return Measurement(
        square_sum=variance * (pieces - 1) + samples * mean_square,
        mean_square=mean_square,
        samples=samples,
        pieces=pieces,
        population=population,
    )
