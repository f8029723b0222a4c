"""The rule ``replay``: the batches of an earlier run, read from its journal file (policies/recorded.py decides)."""

from __future__ import annotations

from pathlib import Path

from .errors import InputError
from .policies import Recorded
from .training.journal import read


class Replay(Recorded):
    """A rule that repeats the decisions of an earlier run at the same cursors and measures nothing.

    Args:
        journal: Path of the earlier run's journal.jsonl.

    Raises:
        InputError: There is no such journal, or it is not one.
    """

    def __init__(self, *, journal: str) -> None:
        try:
            records = read(Path(journal))  # without the last line, if the run was killed within it
        except (OSError, TypeError, InputError) as error:
            given = error.given if isinstance(error, InputError) else f"{journal} ({type(error).__name__})"
            hint = "--policy.journal runs/NAME/journal.jsonl"
            raise InputError("policy.journal", given, "the journal.jsonl of a run", hint) from error
        super().__init__(records, source=journal)
