"""The batches of an earlier run again, from the records of its journal, without measuring anything.

When to use it: to know whether a result came from the batches or from the rule that found them; to repeat a run.
Recipes and scripts name the journal's file instead: rule ``replay`` (hpc_adabatch/replay.py).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import reading, require
from .policy import Policy, Progress, Proposal


class Recorded(Policy):
    """A rule that repeats recorded decisions at the same cursors.

    Args:
        records: Journal records in their order (docs/run-folder.md); the first decision is at cursor 0.
        source: Name of the records in the error message.

    Raises:
        InputError: The records are not those of a run.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]], *, source: str = "records") -> None:
        allowed, example = "the journal.jsonl of a run", "--policy.journal runs/NAME/journal.jsonl"
        with reading("policy.journal", source, allowed, example):
            found = list(holding(records))
            self.cursors = [int(record["cursor"]) for record in found]
            self.sizes = [int(record["global_batch"]) for record in found]
            self.factors = [float(record["learning_rate_factor"]) for record in found]
            noises = [record.get("noise") for record in found]
            self.noises = [None if noise is None else (float(noise[0]), float(noise[1])) for noise in noises]
            numbers = [number for noise in self.noises if noise is not None for number in noise]
            good = self.cursors == sorted(self.cursors) and all(map(math.isfinite, (*numbers, *self.factors)))
            require(good and min(self.sizes, default=1) >= 1, "policy.journal", source, allowed, example)
        self.couples_rate = any("scaling_batch" in record for record in found)
        self.brings_noise = any(noise is not None for noise in self.noises)
        require(self.cursors[:1] == [0], "policy.journal", source, allowed, example)

    @property
    def initial_batch(self) -> int:
        """Returns the global batch of the first decision."""
        return self.sizes[0]

    @property
    def largest_batch(self) -> int:
        """Returns the largest global batch of all decisions."""
        return max(self.sizes)

    def phase(self, progress: Progress) -> int:
        """Returns the number of the decision that holds at this cursor."""
        return bisect_right(self.cursors, progress.samples_seen) - 1

    def first_phase(self, progress: Progress) -> int:
        """Returns 0: if the very first step was lengthened, a later decision is due before it."""
        return 0

    def propose(self, progress: Progress) -> Proposal:
        """Returns batch, learning-rate factor and noise of the decision that holds at this cursor."""
        entry = self.phase(progress)
        reason = f"replay of the decision at sample {self.cursors[entry]}"
        noise = self.noises[entry]
        return Proposal(
            global_batch=self.sizes[entry],
            learning_rate_factor=self.factors[entry],
            noise=noise,
            reason=reason,
        )


def holding(records: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yields what holds, and from which cursor on; a step of another size than its batch holds for itself alone.

    Args:
        records: Journal records in their order (docs/run-folder.md).
    """
    now: Mapping[str, Any] = {}
    for record in records:
        if record["kind"] in ("start", "decision"):
            now = record
            yield record
        elif record["kind"] == "step":
            size = int(record["global_batch"])
            yield {**now, "cursor": record["cursor"], "global_batch": size}
            yield {**now, "cursor": int(record["cursor"]) + size}
