"""The time that a training took by its own clock, and the nodes that it took it on: from its journal.

The clock stands still while a run waits in the queue, and steps that a kill has taken back are not on it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class OwnClock:
    """The parts of a training, each from its start to that of the next one."""

    parts: tuple[tuple[float, int], ...]
    """The pairs (seconds of the start, ranks), in order; the first starts at 0."""
    end_s: float
    """The seconds of the last line."""

    def rank_seconds(self, until_s: float | None = None) -> float:
        """Returns the seconds of all ranks together.

        Args:
            until_s: The seconds up to which they count; None for those of the last line.
        """
        until_s = self.end_s if until_s is None else until_s
        ends = [*(start_s for start_s, _ in self.parts[1:]), until_s]
        return sum(
            max(0.0, min(end_s, until_s) - start_s) * ranks
            for (start_s, ranks), end_s in zip(self.parts, ends, strict=True)
        )


def own_clock(journal: Path, ranks: int) -> OwnClock | None:
    """Returns the parts of a training; None where its journal tells none.

    Lines that are cut short or damaged are passed over.

    Args:
        journal: The file.
        ranks: The ranks of parts that do not tell them.
    """
    try:
        lines = journal.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    last = next((found for line in reversed(lines) if (found := _told(line, ranks)) is not None), None)
    if last is None:
        return None
    # of the many lines few begin a part: the others are not parsed
    told = [_told(line, ranks) for line in lines if '"start"' in line or '"resume"' in line]
    starts = [(time_s, size) for time_s, kind, size in filter(None, told) if kind in ("start", "resume")]
    return OwnClock(parts=((0.0, starts[0][1] if starts else ranks), *starts[1:]), end_s=last[0])


def _told(line: str, ranks: int) -> tuple[float, str, int] | None:
    """Returns seconds, kind and ranks of a line; None of one that is damaged."""
    try:
        record = json.loads(line)
        return float(record["time_s"]), str(record["kind"]), int(record.get("world_size", ranks))
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None
