"""Whether a process writes in a run's folder, seen from outside: nothing is written there, unlike run/owner.py does.

a process of this machine    has it ended?
of another                   gone after 2 minutes in which its last sign stays the same, by this machine's clock; at
                             once where that sign is older than any difference of clocks explains
"""

from __future__ import annotations

import math
import time

from ..owner import GONE_S, Owner

SKEW_S = 600.0  # at most, between this machine's clock and that of the file system


class Signs:
    """The signs of life of a folder's owner, as they come.

    Args:
        owner: The owner.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._last: tuple[str, float] | None = None
        self._since_s = -math.inf  # when that sign was first seen

    def is_owned(self) -> bool:
        """Reports whether some process owns the folder, as far as can be seen.

        Raises:
            OSError: The folder cannot be read.
        """
        found = self._owner.last()
        if found is None:
            return False
        if found.has_ended is not None:
            return not found.has_ended
        if (found.key, found.seen_s) != self._last:
            self._last, self._since_s = (found.key, found.seen_s), time.monotonic()
        silent_s = max(time.monotonic() - self._since_s, time.time() - found.seen_s - SKEW_S)
        return silent_s <= GONE_S
