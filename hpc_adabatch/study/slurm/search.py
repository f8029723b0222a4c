"""The search for each cell's state, from the most certain source that knows it.

    1  result.json is complete       OK, whatever Slurm says: srun can return 0 for a job that was killed
    2  squeue                        PENDING, RUNNING, or how the job ended in the last minutes
    3  sacct                         a site may have none
    4  scontrol show job
    5  what Slurm said when it was last asked, and the end of the job's output
    6  nothing                       LOST

While squeue does not answer, a job counts as PENDING: a cell that is called LOST may be submitted again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...errors import InputError
from .. import submissions
from ..cells import Cell
from ..flags import STALL_S
from ..folder import StudyFolder
from ..job import Job, last_cue
from ..spec import Study
from ..state import State
from ..status import CellStatus, States, log_tail, ok_status, running
from ..submissions import Attempt
from .answers import with_log
from .commands import Slurm, SlurmError


def find_states(study: Study, folder: StudyFolder, slurm: Slurm, stall_s: float = STALL_S) -> States:
    """Returns where the cells of a study on Slurm stand."""
    attempts = submissions.read(folder)
    silent, jobs = None, None
    try:
        jobs = slurm.queue()
    except SlurmError as error:
        silent = str(error)
    search = _Search(study, folder, slurm, attempts, jobs)
    return States(cells=[search.status(cell, stall_s) for cell in study.cells], silent=silent)


class _Search:
    """The sources, each asked once for all cells.

    Args:
        study: The plan.
        folder: The study's files.
        slurm: The commands.
        attempts: What is written down, by cell.
        jobs: What squeue says; None where it does not answer.
    """

    def __init__(
        self,
        study: Study,
        folder: StudyFolder,
        slurm: Slurm,
        attempts: Mapping[str, Sequence[Attempt]],
        jobs: Sequence[Job] | None,
    ) -> None:
        self._study, self._folder, self._slurm, self._attempts = study, folder, slurm, attempts
        self._silent = jobs is None
        self._queue = {job.job_id: job for job in jobs or []}
        self._known = {attempt.job_id for each in attempts.values() for attempt in each if attempt.job_id is not None}
        self._accounts: dict[str, Job] | None = None

    def status(self, cell: Cell, stall_s: float) -> CellStatus:
        """Returns where the cell stands."""
        attempts = tuple(self._attempts.get(cell.name, ()))
        last = attempts[-1] if attempts else None
        # An intent without an answer: sbatch was cut short, and its job may be there all the same.
        job_id = last.job_id if last is not None else None
        unsure = last is not None and job_id is None and not last.refused
        found = self._unrecorded(cell, last) if job_id is None else self._successors(cell, job_id)
        job_id = found[-1] if found else job_id
        queued = self._queue.get(job_id or "")
        # A complete result outweighs all that Slurm says.
        ok = ok_status(self._folder, self._study, cell, attempts)
        if ok is not None:
            return replace(ok, job=queued, found=found)
        start = CellStatus(cell=cell, state=State.PLANNED, attempts=attempts, found=found)
        if job_id is not None:
            return self._of_job(start, job_id, queued, stall_s)
        if unsure and self._silent:
            reason = "sbatch was cut short, and squeue does not answer"
            return replace(start, state=State.PENDING, reason=reason, unsure=True)
        reason = (last.error or "sbatch was cut short; submit looks for the job") if last is not None else ""
        return replace(start, reason=reason, unsure=unsure)

    def _unrecorded(self, cell: Cell, last: Attempt | None) -> tuple[str, ...]:
        """Returns jobs of this cell that are not written down: sbatch was cut short, or a dry run's line was pasted."""
        new = self._new(cell)
        if not new and last is not None and not last.refused:
            name = self._study.job_name(cell.name, last.number)
            jobs = self._slurm.accounting(names=[name], since=last.time[:10]) or []
            new = {job.job_id for job in jobs if job.name == name} - self._known
        return tuple(sorted(new, key=int))

    def _successors(self, cell: Cell, job_id: str) -> tuple[str, ...]:
        """Returns the jobs that go on for the cell's job, each submitted by the one before.

        A job does so where Slurm would not queue it again, or where the run is to have other nodes.
        """
        queued = self._queue.get(job_id)
        if queued is not None and queued.state.active:
            return ()
        return tuple(sorted((one for one in self._new(cell) if int(one) > int(job_id)), key=int))

    def _new(self, cell: Cell) -> set[str]:
        """Returns the numbers of the cell's jobs that nobody has written down: by their names, and by their output."""
        prefix = self._study.job_prefix(cell.name)
        names = [job.job_id for job in self._queue.values() if job.name.startswith(prefix)]
        outputs = [path.stem.rpartition("-")[2] for path in self._folder.cell(cell.name).glob("slurm-*.out")]
        return {name for name in (*names, *outputs) if name.isdigit()} - self._known

    def _of_job(self, start: CellStatus, job_id: str, queued: Job | None, stall_s: float) -> CellStatus:
        job = queued or self._remembered(job_id)
        if job is None and self._silent:
            return replace(start, state=State.PENDING, reason="squeue does not answer")
        log = log_tail(self._folder.cell(start.cell.name) / f"slurm-{job_id}.out")
        if job is None:
            state, reason = _forgotten(start.attempts, log)
            return replace(start, state=state, reason=reason)
        job = with_log(job, log)
        if job.state is State.OK:
            reason = f"Slurm says {job.told}, but there is no result.json"
            return replace(start, job=job, state=State.FAILED, reason=reason)
        if job.state is State.CANCELLED and start.attempts and start.attempts[-1].cancelled:
            return replace(start, job=job, state=State.CANCELLED, reason="by adabatch study cancel")
        again = f"restarted {job.restarts} time(s)" if job.restarts and job.state.active else ""
        if job.state is State.RUNNING:
            state, reason = running(self._folder, start.cell.name, stall_s)
            return replace(start, job=job, state=state, reason=reason or again)
        reason = "; ".join(part for part in (job.told, again) if part)
        return replace(start, job=job, state=job.state, reason=reason)

    def _remembered(self, job_id: str) -> Job | None:
        """Returns what sacct knows of a job that has left the queue, or scontrol."""
        if self._accounts is None:
            gone = sorted(self._known - self._queue.keys())
            jobs = self._slurm.accounting(job_ids=gone) if gone else None
            self._accounts = {job.job_id: job for job in jobs or []}
        job = self._accounts.get(job_id)
        if job_id not in self._known:
            job = next(iter(self._slurm.accounting(job_ids=[job_id]) or []), None)
        if job is not None and job.state.over:
            return job
        return self._slurm.control(job_id)


def _forgotten(attempts: Sequence[Attempt], log: list[str]) -> tuple[State, str]:
    """Returns the state and the reason of a job that Slurm knows no more."""
    last = attempts[-1] if attempts else None
    if last is not None and last.seen is not None and last.seen["seen"] not in (State.OK, State.LOST):
        return State.of(last.seen["seen"]), last.seen.get("reason", "")
    if cue := last_cue("\n".join(log)):
        return cue
    if last is not None and last.cancelled:
        return State.CANCELLED, "by adabatch study cancel"
    return State.LOST, "Slurm does not know the job, and there is no result.json"


def remember(folder: StudyFolder, states: States) -> None:
    """Writes down jobs that went on for others, and how jobs ended, which Slurm forgets after minutes.

    Nothing is written where the folder cannot be, or while somebody submits.
    """
    news = [(status, job) for status in states.cells if (job := _news(status)) is not None]
    found = [(status.cell.name, *one) for status in states.cells for one in status.unwritten]
    if not (news or found) or folder.in_use():
        return
    try:
        with folder.lock():
            for cell, attempt, job_id in found:
                submissions.write(folder, cell, attempt, job_id=job_id)
            for status, job in news:
                what = {"seen": job.state, "reason": job.told, "submitted_s": job.submitted_s}
                more = {"began_s": job.began_s, "ended_s": job.ended_s, "nodes": job.nodes}
                submissions.write(folder, status.cell.name, status.attempt, **what, **more)
    except InputError:  # a folder of someone else's: it is only looked at
        return


def _news(status: CellStatus) -> Job | None:
    """Returns the job that ended since its end was last written down."""
    job = status.job
    if job is None or job.state.active or status.job_id != job.job_id:
        return None
    seen = status.attempts[-1].seen if not status.found else None
    return job if seen is None or (seen["seen"], seen.get("ended_s")) != (job.state, job.ended_s) else None
