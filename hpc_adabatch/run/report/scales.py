"""Units and ticks that people read at once: 250 thousand samples, 3.2 hours, batches in powers of two."""

from __future__ import annotations

import math
from dataclasses import dataclass

COUNTS = ((1e9, "billions"), (1e6, "millions"), (1e4, "thousands"))
MANY = 1000.0  # largest / smallest, from which on powers of ten are ticks enough
FEW = 3.0  # largest / smallest, below which hardly two powers of two lie between them
TIMES = ((2 * 86400.0, 86400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (2 * 60.0, 60.0, "minutes"))


@dataclass(frozen=True)
class Scale:
    """An axis of x."""

    name: str
    """The column that it shows: samples, updates or time."""
    label: str
    """The words beside it, with the unit."""
    divisor: float
    """The number by which what is drawn is divided."""
    largest: float
    """The largest number on it, in its unit."""

    @property
    def end(self) -> float:
        """Returns where the axis ends: a little further, so that the last point is seen whole."""
        return 1.015 * self.largest


def counted(name: str, largest: float) -> Scale:
    """Returns an axis of samples or updates, in thousands and more where they are many."""
    unit, word = next(((unit, word) for unit, word in COUNTS if largest >= unit), (1.0, ""))
    unit = 1e3 if word == "thousands" else unit
    return Scale(name, f"{name} ({word})" if word else name, unit, (largest or 1.0) / unit)


def timed(largest_s: float) -> Scale:
    """Returns an axis of wall time, in seconds, minutes, hours or days."""
    unit, word = next(((unit, word) for least, unit, word in TIMES if largest_s >= least), (1.0, "seconds"))
    return Scale("time", f"wall time ({word})", unit, (largest_s or 1.0) / unit)


def decades(smallest: float, largest: float) -> list[float]:
    """Returns ticks at 1, 2 and 5 times powers of ten, or at the powers alone where these are many.

    Args:
        smallest: The smallest number, above 0.
        largest: The largest.
    """
    low, high = math.floor(math.log10(smallest)), math.ceil(math.log10(largest))
    steps = (1, 2, 5) if largest < MANY * smallest else (1,)
    return [step * 10.0**power for power in range(low, high + 1) for step in steps]


def powers(smallest: float, largest: float, most: int = 9) -> list[float]:
    """Returns ticks at powers of two from one number to another, at most so many; the two themselves if few are there.

    Args:
        smallest: The smallest number, above 0.
        largest: The largest.
        most: The largest number of ticks.
    """
    if largest < FEW * smallest:
        return sorted({float(smallest), float(largest)})
    low, high = math.floor(math.log2(smallest)), math.ceil(math.log2(largest))
    apart = max(1, math.ceil((high - low) / (most - 1)))
    return [2.0**power for power in range(low, high + 1, apart)]
