"""The numbers in a decision's reason, and reasons without them, so that those of a kind can be counted."""

from __future__ import annotations

import re

_WANTED = re.compile(r"\bwanted (inf|[\d.]+(?:e[+-]?\d+)?)\b")  # in the words of policies/measured.py


def wanted(reason: str) -> float | None:
    """Returns the batch that a rule asked for, which may be infinite; None where the reason names none."""
    found = _WANTED.search(reason)
    return float(found[1]) if found is not None else None


def kind(reason: str) -> str:
    """Returns the part of a reason that has no numbers."""
    if wanted(reason) is not None:
        return "measured, and the present batch kept"
    return re.split(r"[:,]? *(?:\binf\b|\d)", reason)[0] or "not told"
