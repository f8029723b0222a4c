"""Where each cell stands, from the most certain source that knows.

    1  result.json is complete       OK, whatever Slurm says: srun can return 0 for a job that was killed
    2  squeue                        PENDING, RUNNING, or how it ended in the last minutes
    3  sacct                         a site may have none
    4  scontrol show job
    5  what Slurm said when it was last asked, and the end of the job's output
    6  nothing                       LOST

RUNNING becomes STALLED when nothing in the cell's folder has moved for a while. While squeue does not answer, a job is
taken to be PENDING: whatever is called LOST may be submitted again.

Not here: what happens on this machine (local.py), the table (cli.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from . import submissions
from .cells import Cell
from .flags import STALL_S
from .folder import StudyFolder
from .slurm import Slurm, SlurmError
from .slurm_answers import WAITING, WORKING, Job, last_cue, with_log
from .spec import Study
from .submissions import Attempt

_TAIL_BYTES = 16384  # of a job's output: where it tells how it ended
WAIT = ("PLANNED", "PENDING", "RUNNING")


@dataclass(frozen=True, kw_only=True)
class CellStatus:
    """One cell, now."""

    cell: Cell
    state: str
    """One of results.STATES."""
    reason: str = ""
    attempts: tuple[Attempt, ...] = ()
    job: Job | None = None
    """The last attempt's, as far as Slurm remembers."""
    found: str | None = None
    """Number of a job that is there and not written down."""
    unsure: bool = False
    """The last call of sbatch was cut short, and no job of it was found so far."""

    @property
    def job_id(self) -> str | None:
        """Of the last attempt."""
        return self.found or (self.attempts[-1].job_id if self.attempts else None)

    @property
    def attempt(self) -> int:
        """Number of the attempt that the job belongs to."""
        if not self.attempts:
            return 1
        last = self.attempts[-1]
        return last.number + (self.found is not None and (last.job_id is not None or last.refused))

    @property
    def job_ids(self) -> list[str]:
        """Of all attempts, oldest first."""
        known = [attempt.job_id for attempt in self.attempts if attempt.job_id is not None]
        return [*known, self.found] if self.found else known


@dataclass(frozen=True, kw_only=True)
class States:
    """All cells."""

    cells: list[CellStatus]
    silent: str | None
    """Why squeue does not answer; None when it does."""

    def exit_code(self) -> int:
        """0 all are OK, 3 some are still to come, 4 some failed."""
        states = {status.state for status in self.cells}
        failed = states - {"OK", *WAIT}
        return 4 if failed else 3 if states & set(WAIT) else 0


def read_result(folder: StudyFolder, cell: str) -> dict[str, Any] | None:
    """The cell's result.json; None while it is not complete."""
    try:
        content = json.loads((folder.cell(cell) / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def log_tail(path: Path) -> list[str]:
    """The last lines of a job's output; none when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def ok_status(folder: StudyFolder, study: Study, cell: Cell, attempts: Sequence[Attempt]) -> CellStatus | None:
    """OK when the result is there; None when it is not."""
    result = read_result(folder, cell.name)
    if result is None:
        return None
    missed = study.until is not None and cell.verb == "train" and result.get("reached") is None
    reason = f"ended without {study.until}" if missed else ""
    return CellStatus(cell=cell, state="OK", reason=reason, attempts=tuple(attempts))


def find_states(study: Study, folder: StudyFolder, slurm: Slurm, stall_s: float = STALL_S) -> States:
    """Where the cells of a study on Slurm stand."""
    attempts = submissions.read(folder)
    silent, jobs = None, None
    try:
        jobs = slurm.queue()
    except SlurmError as error:
        silent = str(error)
    search = _Search(study, folder, slurm, attempts, jobs)
    return States(cells=[search.status(cell, stall_s) for cell in study.cells], silent=silent)


class _Search:
    """The sources, each asked once for all cells."""

    def __init__(
        self,
        study: Study,
        folder: StudyFolder,
        slurm: Slurm,
        attempts: dict[str, list[Attempt]],
        jobs: list[Job] | None,
    ) -> None:
        self._study, self._folder, self._slurm, self._attempts = study, folder, slurm, attempts
        self._silent = jobs is None
        self._queue = {job.job_id: job for job in jobs or []}
        self._known = {attempt.job_id for each in attempts.values() for attempt in each}
        self._accounts: dict[str, Job] | None = None

    def status(self, cell: Cell, stall_s: float) -> CellStatus:
        attempts = tuple(self._attempts.get(cell.name, ()))
        last = attempts[-1] if attempts else None
        job_id = last.job_id if last is not None else None
        unsure = last is not None and job_id is None and not last.refused
        found = self._unrecorded(cell, last) if job_id is None else None
        job_id = found or job_id
        queued = self._queue.get(job_id or "")
        ok = ok_status(self._folder, self._study, cell, attempts)
        if ok is not None:
            return replace(ok, job=queued, found=found)
        start = CellStatus(cell=cell, state="PLANNED", attempts=attempts, found=found)
        if job_id is not None:
            return self._of_job(start, job_id, queued, stall_s)
        if unsure and self._silent:
            return replace(start, state=WAITING, reason="sbatch was cut short, and squeue does not answer", unsure=True)
        reason = (last.error or "sbatch was cut short; submit looks for the job") if last is not None else ""
        return replace(start, reason=reason, unsure=unsure)

    def _unrecorded(self, cell: Cell, last: Attempt | None) -> str | None:
        """A job of this cell that is not written down: sbatch was cut short, or a dry run's line was pasted."""
        prefix = self._study.job_prefix(cell.name)
        names = [job.job_id for job in self._queue.values() if job.name.startswith(prefix)]
        outputs = [path.stem.rpartition("-")[2] for path in self._folder.cell(cell.name).glob("slurm-*.out")]
        new = {name for name in (*names, *outputs) if name.isdigit()} - self._known
        if not new and last is not None and not last.refused:
            name = self._study.job_name(cell.name, last.number)
            jobs = self._slurm.accounting(names=[name], since=last.time[:10]) or []
            new = {job.job_id for job in jobs if job.name == name} - self._known
        return max(new, key=int, default=None)

    def _of_job(self, start: CellStatus, job_id: str, queued: Job | None, stall_s: float) -> CellStatus:
        job = queued or self._remembered(job_id)
        if job is None and self._silent:
            return replace(start, state=WAITING, reason="squeue does not answer")
        log = log_tail(self._folder.cell(start.cell.name) / f"slurm-{job_id}.out")
        if job is None:
            state, reason = _forgotten(start.attempts, log)
            return replace(start, state=state, reason=reason)
        job = with_log(job, log)
        if job.state == "OK":
            return replace(start, job=job, state="FAILED", reason=f"Slurm says {job.told}, but there is no result.json")
        again = f"restarted {job.restarts} time(s)" if job.restarts and not job.ended else ""
        if job.state == "CANCELLED" and start.attempts and start.attempts[-1].cancelled:
            return replace(start, job=job, state="CANCELLED", reason="by adabatch study cancel")
        if job.state == WORKING:
            quiet_s = self._folder.quiet_s(start.cell.name)
            if quiet_s > stall_s:
                return replace(start, job=job, state="STALLED", reason=f"nothing has moved for {quiet_s:.0f} s")
            return replace(start, job=job, state=WORKING, reason=again)
        reason = "; ".join(part for part in (job.told, again) if part)
        return replace(start, job=job, state=job.state, reason=reason)

    def _remembered(self, job_id: str) -> Job | None:
        """What sacct knows of a job that has left the queue, or scontrol."""
        if self._accounts is None:
            gone = sorted(str(known) for known in self._known if known is not None and known not in self._queue)
            jobs = self._slurm.accounting(job_ids=gone) if gone else None
            self._accounts = {job.job_id: job for job in jobs or []}
        job = self._accounts.get(job_id)
        if job is not None and job.ended:
            return job
        return self._slurm.control(job_id)


def _forgotten(attempts: Sequence[Attempt], log: list[str]) -> tuple[str, str]:
    """State and reason of a job that Slurm knows no more."""
    last = attempts[-1] if attempts else None
    if last is not None and last.seen is not None and last.seen["seen"] not in ("OK", "LOST"):
        return last.seen["seen"], last.seen.get("reason", "")
    if cue := last_cue("\n".join(log)):
        return cue
    if last is not None and last.cancelled:
        return "CANCELLED", "by adabatch study cancel"
    return "LOST", "Slurm does not know the job, and there is no result.json"


def remember(folder: StudyFolder, states: States) -> None:
    """Writes down how jobs ended while Slurm knows it, where the folder can be written and nobody submits."""
    news = [status for status in states.cells if _is_news(status)]
    if not news or folder.in_use():
        return
    try:
        with folder.lock():
            for status in news:
                job, last = status.job, status.attempts[-1]
                assert job is not None  # by _is_news
                what = {"seen": job.state, "reason": job.told, "submitted_s": job.submitted_s}
                times = {"began_s": job.began_s, "ended_s": job.ended_s}
                submissions.write(folder, last.cell, last.number, **what, **times)
    except InputError:  # a folder of someone else's: it is only looked at
        return


def _is_news(status: CellStatus) -> bool:
    job = status.job
    if job is None or not job.ended or not status.attempts or status.attempts[-1].job_id != job.job_id:
        return False
    seen = status.attempts[-1].seen
    return seen is None or (seen["seen"], seen.get("ended_s")) != (job.state, job.ended_s)
