"""The states of a study's cells as every place tells them, and what a cell's folder tells by itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..records import check_format
from .cells import Cell
from .folder import StudyFolder
from .job import Job
from .spec import Study
from .state import State
from .submissions import Attempt

_TAIL_BYTES = 16384  # of a job's output: it tells at its end how the job ended


@dataclass(frozen=True, kw_only=True)
class CellStatus:
    """A cell's state, now."""

    cell: Cell
    """The cell."""
    state: State
    """The state of the cell."""
    reason: str = ""
    """Why the cell is in this state, in words; may be empty."""
    attempts: tuple[Attempt, ...] = ()
    """The attempts that are written down, oldest first."""
    job: Job | None = None
    """The last attempt's job, while the place remembers it."""
    found: tuple[str, ...] = ()
    """The numbers of the jobs of this cell that nobody has written down, oldest first."""
    unsure: bool = False
    """True where the last call of sbatch was cut short, and no job of it was found so far."""

    @property
    def job_id(self) -> str | None:
        """Returns the number of the last attempt's job; None where there is none."""
        return self.found[-1] if self.found else self.attempts[-1].job_id if self.attempts else None

    @property
    def attempt(self) -> int:
        """Returns the number of the attempt that the job belongs to, from 1."""
        return self._first_found + max(0, len(self.found) - 1)

    @property
    def unwritten(self) -> list[tuple[int, str]]:
        """Returns attempt and job of each job that nobody has written down, oldest first."""
        return list(enumerate(self.found, self._first_found))

    @property
    def _first_found(self) -> int:
        """Returns the attempt of the first such job: the next one, but after an intent without an answer."""
        if not self.attempts:
            return 1
        last = self.attempts[-1]
        return last.number + (bool(self.found) and (last.job_id is not None or last.refused))

    @property
    def next_attempt(self) -> int:
        """Returns the number of the attempt that comes after all that are written down."""
        return self.attempts[-1].number + 1 if self.attempts else 1

    @property
    def job_ids(self) -> list[str]:
        """Returns the numbers of the jobs of all attempts, oldest first."""
        known = [attempt.job_id for attempt in self.attempts if attempt.job_id is not None]
        return [*known, *self.found]


@dataclass(frozen=True, kw_only=True)
class States:
    """The states of all cells of a study, in the plan's order."""

    cells: list[CellStatus]
    """The states, one for each cell."""
    silent: str | None = None
    """Why squeue does not answer; None when it does, and where nobody asks it."""

    def exit_code(self) -> int:
        """Returns the exit code of ``status``: 0 all are OK, 3 some are still to come, 4 some failed."""
        if all(status.state is State.OK or status.state.waits for status in self.cells):
            return 3 if any(status.state.waits for status in self.cells) else 0
        return 4

    def of(self, cells: Iterable[Cell]) -> list[CellStatus]:
        """Returns the states of these cells."""
        wanted = {cell.name for cell in cells}
        return [status for status in self.cells if status.cell.name in wanted]

    def to_start(self, cells: Iterable[Cell], retry: Collection[State]) -> list[CellStatus]:
        """Returns those of the cells that have no job, and those whose last job ended in one of the states."""
        return [status for status in self.of(cells) if status.state is State.PLANNED or status.state in retry]

    def nothing_to_submit(self, cells: Iterable[Cell]) -> str:
        """Returns the line that says so; where cells have ended without a result, with what submits them again."""
        ended = [status.state for status in self.of(cells) if status.state.can_be_retried]
        words = ",".join(state.lower() for state in State if state in ended)
        return (
            f"nothing to submit; {len(ended)} ended without a result: --retry {words}" if ended else "nothing to submit"
        )


def read_result(folder: StudyFolder, cell: str) -> dict[str, Any] | None:
    """Returns the content of the cell's result.json; None while it is not complete.

    Raises:
        InputError: A newer release has written it.
    """
    path = folder.cell(cell) / "result.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    check_format(content, "result.json", path)
    return content


def log_tail(path: Path) -> list[str]:
    """Returns the last lines of a job's output; none when there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def ok_status(folder: StudyFolder, study: Study, cell: Cell, attempts: Sequence[Attempt]) -> CellStatus | None:
    """Returns the status OK where the cell's result is complete; None where it is not."""
    result = read_result(folder, cell.name)
    if result is None:
        return None
    missed = study.until is not None and cell.verb == "train" and result.get("reached") is None
    reason = f"ended without {study.until}" if missed else ""
    return CellStatus(cell=cell, state=State.OK, reason=reason, attempts=tuple(attempts))


def running(folder: StudyFolder, cell: str, stall_s: float) -> tuple[State, str]:
    """Returns the state and the reason of a cell whose job runs: STALLED when nothing has moved for so long."""
    quiet_s = folder.quiet_s(cell)
    return (State.STALLED, f"nothing has moved for {quiet_s:.0f} s") if quiet_s > stall_s else (State.RUNNING, "")
