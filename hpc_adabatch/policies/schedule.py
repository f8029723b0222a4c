"""Batch sizes written down beforehand: ``0:128 20ep:256 40ep:512``.

Each entry is ``WHEN:BATCH``. WHEN counts epochs (``20ep``, ``2.5ep``), samples (``60000sa``) or tokens (``250Btok``),
never steps: a step takes as many samples as the batch has, so a change of the batch would move all later entries of a
schedule in steps. K, M, B and T stand for 10^3 to 10^12.

    20ep  60000sa  60Ksa  1.5Mtok      with a unit
    250B                               with a suffix alone, as in Megatron-LM's --step-batch-size-schedule: samples, or
                                       tokens where ``tokens_per_sample`` is given
    0:32 +32 60Ksa:512                 a ramp: 32 more each time, evenly over the samples up to the next entry

When to use it: to write a growth by hand (recorded.py repeats one that a run has found).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction

from ..errors import require, whole
from .policy import Policy, Progress, Proposal

_ENTRY = re.compile(
    r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,9})?)(?P<suffix>[KMBT]?)(?P<unit>ep|sa|tok|):(?P<batch>[0-9]{1,15})"
)
_RAMP = re.compile(r"\+(?P<more>[0-9]{1,15})")
_SUFFIXES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_NAMES = {"ep": "epochs", "sa": "samples", "tok": "tokens"}
_ALLOWED = (
    "entries WHEN:BATCH from 0 on, later and later, WHEN as 20ep (epochs), 60000sa or 60K (samples), 1Mtok (tokens),"
    " one unit in all; +MORE between two for a ramp"
)
_EXAMPLE = '--policy.text "0:128 20ep:256 40ep:512"'
_MOST = 10_000  # stages of a ramp
Entry = tuple[Fraction, int]


class Schedule(Policy):
    """Schedule: a rule that takes each batch from a text, such as ``0:128 20ep:256 40ep:512``.

    Args:
        text: Entries ``WHEN:BATCH`` separated by blanks, the first at 0, all others in one unit and increasing;
            ``+MORE`` between two for a ramp from one to the other.
        tokens_per_sample: Tokens of a sample, where WHEN counts tokens.

    Raises:
        InputError: The text is not such a schedule, or counts tokens without knowing those of a sample.
    """

    def __init__(self, *, text: str, tokens_per_sample: int | None = None) -> None:
        require(isinstance(text, str), "policy.text", repr(text), _ALLOWED, _EXAMPLE)
        self.text, self.tokens_per_sample = text, tokens_per_sample
        fits, hint = tokens_per_sample is None or whole(tokens_per_sample) >= 1, "--policy.tokens_per_sample 1024"
        require(fits, "policy.tokens_per_sample", tokens_per_sample, "1 or more", hint)
        words = text.split()
        units = {unit for unit in map(self._unit, words) if unit}
        self.unit = units.pop() if units else "sa"
        require(bool(words) and not units, "policy.text", repr(text), _ALLOWED, _EXAMPLE)
        known = self.unit != "tok" or tokens_per_sample is not None
        require(known, "policy.tokens_per_sample", None, "those of a sample, where the schedule counts tokens", hint)
        entries = list(self._entries(words))
        self.whens, self.batches = [when for when, _ in entries], [batch for _, batch in entries]
        ordered = self.whens[0] == 0 and all(a < b for a, b in zip(self.whens, self.whens[1:], strict=False))
        require(ordered and min(self.batches) >= 1, "policy.text", repr(text), _ALLOWED, _EXAMPLE)

    def _unit(self, word: str) -> str:
        """Returns the unit that an entry asks for; none for a ramp, or at 0.

        Raises:
            InputError: It is neither an entry nor a ramp, or a number without a unit.
        """
        entry = _ENTRY.fullmatch(word)
        if entry is None or float(entry["number"]) == 0:
            require(bool(entry or _RAMP.fullmatch(word)), "policy.text", repr(word), _ALLOWED, _EXAMPLE)
            return ""
        whole_samples = "." not in entry["number"] or entry["suffix"] or entry["unit"] == "ep"
        fits = bool((entry["unit"] or entry["suffix"]) and whole_samples)
        require(fits, "policy.text", repr(word), _ALLOWED, _EXAMPLE)
        return entry["unit"] or ("tok" if self.tokens_per_sample is not None else "sa")

    def _entries(self, words: list[str]) -> Iterator[Entry]:
        """Yields when each batch begins, in the schedule's unit, with the stages of ramps."""
        last: Entry | None = None
        more = 0
        for number, word in enumerate(words):
            if ramp := _RAMP.fullmatch(word):
                more = int(ramp["more"])
                between = 0 < number < len(words) - 1 and more > 0 and not _RAMP.fullmatch(words[number - 1])
                require(between, "policy.text", repr(word), "a ramp of 1 or more between two entries", _EXAMPLE)
                continue
            entry = _ENTRY.fullmatch(word)
            assert entry is not None  # _unit has seen it
            now = Fraction(entry["number"]) * _SUFFIXES[entry["suffix"]], int(entry["batch"])
            if more and last is not None:
                yield from _ramp(last, now, more)
            yield now
            last, more = now, 0

    @property
    def initial_batch(self) -> int:
        return self.batches[0]

    @property
    def largest_batch(self) -> int:
        return max(self.batches)

    def phase(self, progress: Progress) -> int:
        unit = {"ep": Fraction(progress.samples_per_epoch), "sa": Fraction(1)}.get(self.unit)
        unit = unit if unit is not None else Fraction(1, self.tokens_per_sample or 1)
        return bisect_right(self.whens, progress.samples_seen, key=lambda when: round(when * unit)) - 1

    def propose(self, progress: Progress) -> Proposal:
        entry = self.phase(progress)
        when = f"{float(self.whens[entry]):g} {_NAMES[self.unit]}"
        return Proposal(global_batch=self.batches[entry], reason=f"schedule: {self.batches[entry]} from {when} on")


def _ramp(first: Entry, last: Entry, more: int) -> Iterator[Entry]:
    """Yields the stages between two entries, evenly over what lies between them.

    Raises:
        InputError: The batch does not grow by so many each time, or in too many stages.
    """
    (start, batch), (end, largest) = first, last
    stages = (largest - batch) // more
    fits = largest > batch and (largest - batch) % more == 0 and stages <= _MOST
    allowed = f"a divisor of {largest - batch}, the growth from {batch} to {largest}, in {_MOST:,} stages at most"
    require(fits, "policy.text", f"+{more}", allowed, '--policy.text "0:32 +32 60Ksa:512"')
    for stage in range(1, stages):
        yield start + (end - start) * stage / stages, batch + more * stage
