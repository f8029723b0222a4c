"""What a measured rule is told, as the tests want it."""

from __future__ import annotations

import math
from typing import Any

from hpc_adabatch.gradients import Estimate
from hpc_adabatch.policies import Progress


def estimate(
    noise_scale: float = 400.0,
    signal: float = 2.0,
    full: bool = True,
    low: float | None = None,
    high: float | None = None,
    population: int | None = None,
) -> Estimate:
    """Known exactly where no interval is given; a signal that is not positive has no upper end."""
    above = noise_scale if signal > 0 else math.inf
    return Estimate(
        variance=noise_scale * (abs(signal) or 1.0),
        signal=signal,
        mean_square=signal,
        low=noise_scale if low is None else low,
        high=above if high is None else high,
        steps=20.0,
        samples=10_000,
        full=full,
        population=population,
    )


def progress(now: int, found: Estimate | None, measurements: int = 100, maximum: int = 10_000, **how: Any) -> Progress:
    return Progress(
        **how,
        samples_seen=50_000,
        samples_per_epoch=10_000,
        start_batch=32,
        global_batch=now,
        max_global_batch=maximum,
        measurements=measurements,
        estimate=found,
    )
