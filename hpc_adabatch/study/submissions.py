"""What was asked of Slurm, and what it answered: submissions.jsonl.

    {"cell", "attempt", "time", "command"}         before sbatch is called
    {"cell", "attempt", "time", "job_id"}          it answered
    {"cell", "attempt", "time", "error"}           it did not, or refused; "refused": true when no job can be there
    {"cell", "attempt", "time", "seen", ...}       Slurm told how it ended, which it forgets after minutes
    {"cell", "attempt", "time", "cancelled"}       by `cancel`
    {"cell", "attempt", "time", "exit_code", ...}  it ended, without Slurm; "stopped": timeout or interrupted

A line that was cut short is skipped: what it would have said is found out again.

Not here: writing lines to the disk (folder.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .folder import StudyFolder, now


@dataclass
class Attempt:
    """One job of a cell, as far as it is written down."""

    cell: str
    number: int
    """From 1."""
    time: str
    """Of the call, ISO 8601."""
    job_id: str | None = None
    error: str | None = None
    refused: bool = False
    """Slurm said no: there is no job."""
    seen: dict[str, Any] | None = None
    """Slurm's last word: seen (a state), reason, began_s, ended_s."""
    cancelled: bool = False
    exit_code: int | None = None
    stopped: str = ""
    ended: str | None = None
    """ISO 8601; of cells on this machine."""
    order: int = 0
    """Among all attempts of the study."""

    @property
    def began_s(self) -> float:
        """Seconds since 1970."""
        return datetime.fromisoformat(self.time).timestamp()

    @property
    def ended_s(self) -> float | None:
        """Seconds since 1970, of cells on this machine."""
        return None if self.ended is None else datetime.fromisoformat(self.ended).timestamp()


def read(folder: StudyFolder) -> dict[str, list[Attempt]]:
    """The attempts at each cell, oldest first."""
    try:
        text = folder.submissions.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return gather(_lines(text))


def _lines(text: str) -> Iterable[dict[str, Any]]:
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and {"cell", "attempt", "time"} <= record.keys():
            yield record


def gather(records: Iterable[dict[str, Any]]) -> dict[str, list[Attempt]]:
    """The same from parsed lines."""
    found: dict[tuple[str, int], Attempt] = {}
    for record in records:
        key = (record["cell"], record["attempt"])
        attempt = found.setdefault(key, Attempt(cell=key[0], number=key[1], time=record["time"], order=len(found)))
        if "job_id" in record:
            attempt.job_id, attempt.error, attempt.refused = record["job_id"], None, False
        if "error" in record:
            attempt.error, attempt.refused = record["error"], record.get("refused", False)
        if "seen" in record:
            attempt.seen = record
        attempt.cancelled = attempt.cancelled or "cancelled" in record
        if "exit_code" in record:
            attempt.exit_code, attempt.stopped = record["exit_code"], record.get("stopped", "")
            attempt.ended = record["time"]
    by_cell: dict[str, list[Attempt]] = {}
    for (cell, _), attempt in sorted(found.items()):
        by_cell.setdefault(cell, []).append(attempt)
    return by_cell


def write(folder: StudyFolder, cell: str, attempt: int, **what: Any) -> None:
    """One more line.

    Raises:
        InputError: it cannot be written.
    """
    folder.append(json.dumps({"cell": cell, "attempt": attempt, "time": now(), **what}, ensure_ascii=False))
