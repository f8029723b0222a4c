"""One thing that a rank looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that a rank looked at."""

    what: str
    """The name of the thing."""
    found: str
    """The value, version or state found, as text; where it cannot be known, that in words."""
    mend: str = ""
    """The words to type where it is wrong; empty when it is right."""
