"""Batch sizes written down beforehand: ``0:128 20ep:256 40ep:512``.

Each entry is ``WHEN:BATCH``. WHEN counts epochs (``20ep``, ``2.5ep``) or samples (``60000sa``), never steps: a step
takes as many samples as the batch has, so a change of the batch would move all later entries of a schedule in steps.

When to use it: to write a growth by hand (recorded.py repeats one that a run has found).
"""

from __future__ import annotations

import re
from bisect import bisect_right

from ..errors import InputError, require
from .policy import Policy, Progress, Proposal

_ENTRY = re.compile(
    r"(?:0|(?P<epochs>[0-9]{1,9}(?:\.[0-9]{1,9})?)ep|(?P<samples>[0-9]{1,15})sa):(?P<batch>[0-9]{1,15})"
)
_ALLOWED = "entries WHEN:BATCH from 0 on, later and later, WHEN as 20ep (epochs) or 60000sa (samples), one unit in all"
_EXAMPLE = '--policy.text "0:128 20ep:256 40ep:512"'


class Schedule(Policy):
    """Schedule: a rule that takes each batch from a text, such as ``0:128 20ep:256 40ep:512``.

    Args:
        text: Entries ``WHEN:BATCH`` separated by blanks, the first at 0, all others in one unit and increasing.

    Raises:
        InputError: The text is not such a schedule.
    """

    def __init__(self, *, text: str) -> None:
        require(isinstance(text, str), "policy.text", repr(text), _ALLOWED, _EXAMPLE)
        self.text = text
        matches = [_ENTRY.fullmatch(entry) for entry in text.split()]
        if not matches or None in matches:
            wrong = next((e for e, m in zip(text.split(), matches, strict=True) if m is None), text)
            raise InputError("policy.text", repr(wrong), _ALLOWED, _EXAMPLE)
        entries = [match for match in matches if match is not None]
        self.in_epochs = any(entry["epochs"] for entry in entries)
        self.whens = [float(entry["epochs"] or entry["samples"] or 0) for entry in entries]
        self.batches = [int(entry["batch"]) for entry in entries]
        mixed = self.in_epochs and any(entry["samples"] for entry in entries)
        ordered = self.whens[0] == 0 and all(a < b for a, b in zip(self.whens, self.whens[1:], strict=False))
        require(ordered and not mixed and min(self.batches) >= 1, "policy.text", repr(text), _ALLOWED, _EXAMPLE)

    @property
    def initial_batch(self) -> int:
        return self.batches[0]

    @property
    def largest_batch(self) -> int:
        return max(self.batches)

    def phase(self, progress: Progress) -> int:
        unit = progress.samples_per_epoch if self.in_epochs else 1
        return bisect_right([round(when * unit) for when in self.whens], progress.samples_seen) - 1

    def propose(self, progress: Progress) -> Proposal:
        entry = self.phase(progress)
        when = f"{self.whens[entry]:g} {'epochs' if self.in_epochs else 'samples'}"
        return Proposal(global_batch=self.batches[entry], reason=f"schedule: {self.batches[entry]} from {when} on")
