"""The batches of an earlier run again, from its journal, without measuring anything.

When to use it: to know whether a result came from the batches or from the rule that found them; to repeat a run.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError, require
from .policy import Policy, Progress, Proposal


class Replay(Policy):
    """Repeats the decisions of a journal at the same cursors.

    Args:
        journal: journal.jsonl of the earlier run.

    Raises:
        InputError: there is no such journal, or it is not one.
    """

    def __init__(self, *, journal: str) -> None:
        allowed, example = "the journal.jsonl of a run", "--policy.journal runs/NAME/journal.jsonl"
        try:
            lines = Path(journal).read_text(encoding="utf-8").splitlines(keepends=True)
            records = [json.loads(line) for line in lines if line.endswith("\n")]  # a killed run may end within a line
            holding = list(_holding(records))
            self.cursors = [int(record["cursor"]) for record in holding]
            self.sizes = [int(record["global_batch"]) for record in holding]
            self.factors = [float(record["learning_rate_factor"]) for record in holding]
            self.noises = [record.get("noise") for record in holding]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError("policy.journal", f"{journal} ({type(error).__name__})", allowed, example) from error
        self.brings_noise = any(noise is not None for noise in self.noises)
        require(self.cursors[:1] == [0], "policy.journal", journal, allowed, example)

    @property
    def initial_batch(self) -> int:
        return self.sizes[0]

    @property
    def largest_batch(self) -> int:
        return max(self.sizes)

    def phase(self, progress: Progress) -> int:
        return bisect_right(self.cursors, progress.samples_seen) - 1

    def first_phase(self, progress: Progress) -> int:
        return 0  # the very first step may have been lengthened

    def propose(self, progress: Progress) -> Proposal:
        entry = self.phase(progress)
        reason = f"replay of the decision at sample {self.cursors[entry]}"
        noise = self.noises[entry]
        return Proposal(
            global_batch=self.sizes[entry],
            learning_rate_factor=self.factors[entry],
            noise=None if noise is None else (noise[0], noise[1]),
            reason=reason,
        )


def _holding(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What holds from which cursor on. A step of another size than its batch holds for itself, then what was before."""
    now: dict[str, Any] = {}
    for record in records:
        if record["kind"] in ("start", "decision"):
            now = record
            yield record
        elif record["kind"] == "step":
            size = int(record["global_batch"])
            yield {**now, "cursor": record["cursor"], "global_batch": size}
            yield {**now, "cursor": int(record["cursor"]) + size}
