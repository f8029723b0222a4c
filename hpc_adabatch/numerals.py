"""Numbers in words for people: a noise scale of 16,384 samples is 16384, not 1.638e+04."""

from __future__ import annotations

WRITTEN_OUT = 1e12  # below this, all digits before the point are


def brief(value: float) -> str:
    """Returns a number with four significant digits, or with all that stand before the point."""
    return f"{value:.0f}" if 1e4 <= abs(value) < WRITTEN_OUT else f"{value:.4g}"
