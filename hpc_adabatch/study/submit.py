"""Submitting the cells that have no job yet, each once whatever happens in between.

    lock -> ask squeue -> for each cell: write the intent, fsync -> sbatch -> write the job's number, fsync

    cut short        what is found                what the next submit does
    before sbatch    an intent, no job            submits it
    after sbatch     an intent, a job by name     writes the job's number down
    sbatch hangs     an intent                    waits until a request on its way has arrived, and looks again

A job is found by its name, which no other job has: adabatch:STUDY:CELL:KEY-ATTEMPT.

Not here: how sbatch is called (slurm.py), where cells stand (status.py), cells on this machine (local.py).
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..errors import require
from . import submissions
from .cells import Cell
from .folder import StudyFolder
from .slurm import Slurm, SlurmError
from .spec import Study
from .status import CellStatus, States, find_states

# Longer than Slurm's MessageTimeout of 10 s: after that a request of sbatch's has arrived, or never will.
ON_ITS_WAY_S = 15.0
RETRY = ("failed", "timeout", "oom", "node_fail", "preempted", "cancelled", "lost")


def parse_retry(text: str) -> tuple[str, ...]:
    """States, as in ``--retry timeout,oom``.

    Raises:
        InputError: it is none of them.
    """
    states = tuple(part.strip().lower() for part in text.split(",")) if text.strip() else ()
    for state in states:
        require(state in RETRY, "retry", state, ", ".join(RETRY), "--retry timeout,oom")
    return states


def sbatch_command(study: Study, folder: StudyFolder, cell: Cell, attempt: int, after: str | None = None) -> list[str]:
    """The call that submits a cell.

    Args:
        study: the plan.
        folder: its files.
        cell: which.
        attempt: from 1.
        after: number of a job that must have ended.
    """
    out = folder.cell(cell.name)
    return [
        "sbatch",
        "--parsable",
        f"--nodes={cell.nodes}",
        f"--ntasks-per-node={study.ranks_per_node}",
        f"--job-name={study.job_name(cell.name, attempt)}",
        f"--output={str(out).replace('%', '%%')}/slurm-%j.out",
        f"--chdir={study.directory}",
        f"--export=ALL,ADABATCH_LAUNCHER={study.launcher}",
        *study.sbatch,
        *([f"--dependency=afterany:{after}"] if after is not None else []),
        str(folder.script),
        cell.verb,
        str(folder.recipe),
        *cell.arguments,
        "--out",
        str(out),
    ]


def to_submit(states: States, cells: Iterable[Cell], retry: Sequence[str]) -> list[CellStatus]:
    """Of these cells the ones without a job, and those whose last one ended in such a state."""
    wanted = {cell.name for cell in cells}
    return [s for s in states.cells if s.cell.name in wanted and (s.state == "PLANNED" or s.state.lower() in retry)]


def submit(
    study: Study,
    folder: StudyFolder,
    slurm: Slurm,
    cells: Sequence[Cell],
    *,
    retry: Sequence[str] = (),
    chain: bool = False,
    say: Callable[[str], None],
) -> list[Cell]:
    """Submits what is to be submitted. Returns those cells.

    Raises:
        InputError: another submit is at it, or the folder cannot be written.
        SlurmError: squeue does not answer, so that nothing is known; or sbatch refused. What was submitted stays.
    """
    done: list[Cell] = []
    with folder.lock():
        states = _settled(study, folder, slurm, {cell.name for cell in cells}, say)
        if _adopt(folder, states, say):
            states = find_states(study, folder, slurm)
        after = _last_active(states) if chain else None
        for status in to_submit(states, cells, retry):
            try:
                job_id = _submit_one(study, folder, slurm, status, after)
            except SlurmError as error:
                stay = f"the {len(done)} submitted before it stay" if done else "nothing was submitted"
                raise SlurmError(f"{status.cell.name}: {error}; {stay}; submit again to go on") from error
            say(f"{status.cell.name}  job {job_id}")
            done.append(status.cell)
            after = job_id if chain else None
    return done


def _submit_one(study: Study, folder: StudyFolder, slurm: Slurm, status: CellStatus, after: str | None) -> str:
    cell = status.cell
    attempt = status.attempts[-1].number + 1 if status.attempts else 1
    command = sbatch_command(study, folder, cell, attempt, after)
    folder.make_cell(cell.name)
    submissions.write(folder, cell.name, attempt, command=command)
    try:
        job_id = slurm.submit(command)
    except SlurmError as error:
        submissions.write(folder, cell.name, attempt, error=str(error), refused=not error.unsure)
        raise
    submissions.write(folder, cell.name, attempt, job_id=job_id)
    return job_id


def _settled(study: Study, folder: StudyFolder, slurm: Slurm, wanted: set[str], say: Callable[[str], None]) -> States:
    """The states once no request can be on its way any more.

    Raises:
        SlurmError: squeue does not answer.
    """
    told = False
    while True:
        states = find_states(study, folder, slurm)
        if states.silent is not None:
            raise SlurmError(f"{states.silent}; nothing was submitted: it is not known which jobs are there")
        unsure = [s for s in states.cells if s.unsure and s.found is None and s.cell.name in wanted]
        youngest_s = max((s.attempts[-1].began_s for s in unsure), default=0.0)
        left_s = youngest_s + ON_ITS_WAY_S - time.time()
        if left_s <= 0:
            return states
        if not told:
            say(f"an earlier sbatch was cut short: waiting {left_s:.0f} s for a job that may be on its way")
            told = True
        slurm.wait(min(1.0, left_s))


def _adopt(folder: StudyFolder, states: States, say: Callable[[str], None]) -> bool:
    """Writes down the jobs that were found by name. Whether there were any."""
    found = [status for status in states.cells if status.found is not None]
    for status in found:
        submissions.write(folder, status.cell.name, status.attempt, job_id=status.found)
        say(f"{status.cell.name}  job {status.found}, which an earlier call has submitted")
    return bool(found)


def _last_active(states: States) -> str | None:
    """The newest job that waits or runs."""
    active = [s.job_id for s in states.cells if s.state in ("PENDING", "RUNNING", "STALLED") and s.job_id is not None]
    return max(active, key=int, default=None)


def dry_run(
    study: Study, folder: StudyFolder, statuses: Sequence[CellStatus], overrides: Sequence[str], *, chain: bool
) -> Iterator[str]:
    """Lines for a shell that do what submit would, one a cell."""
    if overrides:
        yield f"unset {' '.join(overrides)}"
    yield f"cd {shlex.quote(study.directory)}"
    for index, status in enumerate(statuses):
        cell = status.cell
        if status.unsure:
            yield f"# {cell.name}: an earlier sbatch was cut short; submit looks for its job first"
        attempt = status.attempts[-1].number + 1 if status.attempts else 1
        line = shlex.join(sbatch_command(study, folder, cell, attempt))
        if chain:
            if index > 0:
                line = line.replace("sbatch ", 'sbatch --dependency=afterany:"$previous" ', 1)
            line = f"previous=$({line} | tail -n 1 | cut -d ';' -f 1)"
        yield f"mkdir -p {shlex.quote(str(folder.cell(cell.name)))} && {line}"


def test_only(study: Study, folder: StudyFolder, slurm: Slurm, cells: Iterable[Cell]) -> Iterator[tuple[bool, str]]:
    """Asks Slurm about each cell without submitting it: whether it would take it, and what it said."""
    for cell in cells:
        command = sbatch_command(study, folder, cell, 1)
        try:
            said = slurm.test([command[0], "--test-only", *command[1:]])
        except SlurmError as error:
            yield False, f"{cell.name}: {error}"
        else:
            yield True, f"{cell.name}: {' '.join(said.split()).removeprefix('sbatch: ') or 'ok'}"
