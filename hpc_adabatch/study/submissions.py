"""The submissions of a study's cells and their answers, in submissions.jsonl.

    {"cell", "attempt", "time", "command"}         before sbatch is called
    {"cell", "attempt", "time", "job_id"}          sbatch answered
    {"cell", "attempt", "time", "error"}           sbatch failed; "refused": true when no job can be there
    {"cell", "attempt", "time", "seen", ...}       Slurm told how the job ended, which it forgets after minutes
    {"cell", "attempt", "time", "cancelled"}       `cancel` ended the job
    {"cell", "attempt", "time", "exit_code", ...}  a cell on this machine ended; "stopped": timeout or interrupted

A line that was cut short is skipped: its content is found out again. One that is whole and says something else is
refused, because a job may hang on it; so is one of a later "format" than 1, which lines have that name none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import reading
from ..records import check_format, fits, misfit
from .folder import StudyFolder, now


@dataclass
class Attempt:
    """One attempt at a cell, as it is written down."""

    cell: str
    """The cell's name."""
    number: int
    """The number of the attempt, from 1."""
    time: str
    """The time of the call, in ISO 8601."""
    job_id: str | None = None
    """The number of the job in Slurm; None where none was told."""
    error: str | None = None
    """The message of the call that failed; None of one that did not."""
    refused: bool = False
    """True where Slurm said no, so that there is no job."""
    seen: dict[str, Any] | None = None
    """Slurm's last word: seen (a state), reason, submitted_s, began_s, ended_s, nodes."""
    cancelled: bool = False
    """True where `cancel` ended the job."""
    exit_code: int | None = None
    """The exit code of a cell on this machine; None while it has not ended."""
    stopped: str = ""
    """Why a cell on this machine was stopped: timeout or interrupted; empty where it was not."""
    ended: str | None = None
    """The time of the end of a cell on this machine, in ISO 8601."""
    order: int = 0
    """The place of the attempt among all attempts of the study, from 0."""

    @property
    def began_s(self) -> float:
        """Returns the time of the call, in seconds since 1970."""
        return datetime.fromisoformat(self.time).timestamp()

    @property
    def ended_s(self) -> float | None:
        """Returns the time of the end of a cell on this machine, in seconds since 1970."""
        return None if self.ended is None else datetime.fromisoformat(self.ended).timestamp()


def read(folder: StudyFolder) -> dict[str, list[Attempt]]:
    """Returns the attempts at each cell, oldest first.

    Raises:
        InputError: A line is not one that ``write`` wrote, or a newer release has written it.
    """
    try:
        text = folder.submissions.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    hint = f"an editor, and remove the line from {folder.submissions}"
    with reading("submissions.jsonl", folder.submissions, "the lines that submit wrote", hint):
        records = list(_lines(text))
        for record in records:
            check_format(record, "submissions.jsonl", folder.submissions)
        return gather(records)


def _lines(text: str) -> Iterable[dict[str, Any]]:
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and {"cell", "attempt", "time"} <= record.keys():
            yield record


def gather(records: Iterable[dict[str, Any]]) -> dict[str, list[Attempt]]:
    """Returns the attempts at each cell from parsed lines, oldest first."""
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
        _check(attempt)
        by_cell.setdefault(cell, []).append(attempt)
    return by_cell


def _check(attempt: Attempt) -> None:
    """Raises an error unless the attempt is one that a place has written down."""
    seen = attempt.seen or {"seen": ""}
    times = [attempt.began_s, attempt.ended_s, *(seen.get(name) for name in ("submitted_s", "began_s", "ended_s"))]
    good = all(fits(time, float | None) for time in times) and fits(seen["seen"], str) and attempt.number >= 1
    good = good and fits(seen.get("reason", ""), str) and fits(seen.get("nodes"), int | None)
    if misfit(attempt) is not None or not good:
        raise TypeError


def write(folder: StudyFolder, cell: str, attempt: int, **what: Any) -> None:
    """Writes one more line.

    Args:
        folder: The study's files.
        cell: The cell's name.
        attempt: The number of the attempt.
        what: The line's other fields.

    Raises:
        InputError: The line cannot be written.
    """
    folder.append(json.dumps({"cell": cell, "attempt": attempt, "time": now(), **what}, ensure_ascii=False))
