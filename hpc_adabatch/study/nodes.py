"""Node counts as people type them: 1,2,4,8 and 1,2,4,...,4096."""

from __future__ import annotations

import re

from ..errors import require

HINT = "--nodes 1,2,4,...,4096"


def node_counts(text: str) -> tuple[int, ...]:
    """Reads node counts with commas between; ... before the last doubles up to it.

    Returns:
        The counts in the order given, each once.

    Raises:
        InputError: A word that is no count, or a count that comes twice.
    """
    words = [word.strip() for word in text.split(",")]
    doubles = len(words) >= 3 and words[-2] in ("...", "\N{HORIZONTAL ELLIPSIS}")
    if doubles:
        del words[-2]
    whole = all(re.fullmatch(r"[0-9]{1,6}", word) for word in words)
    require(whole, "nodes", text or "nothing", "whole numbers with commas, and ... before the last to double", HINT)
    counts = [int(word) for word in words]
    require(min(counts) >= 1, "nodes", text, "1 or more", HINT)
    require(len(set(counts)) == len(counts), "nodes", text, "each once; --repeats repeats", HINT)
    if doubles:
        *counts, last = counts
        require(counts[-1] < last, "nodes", text, "a last count above the one before the ...", HINT)
        while 2 * counts[-1] < last:
            counts.append(2 * counts[-1])
        counts.append(last)
    return tuple(counts)
