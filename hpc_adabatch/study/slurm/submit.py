"""Submitting the cells that have no job yet, each once whatever happens in between.

    lock -> ask squeue -> for each cell: write the intent, fsync -> sbatch -> write the job's number, fsync

    cut short        what is found                what the next submit does
    before sbatch    an intent, no job            submits it
    after sbatch     an intent, a job by name     writes the job's number down
    sbatch hangs     an intent                    waits until a request on its way has arrived, and looks again

A job is found by its name, which no other job has: adabatch:STUDY:CELL:KEY-ATTEMPT.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from .. import checkout, submissions
from ..cells import Cell
from ..folder import StudyFolder
from ..spec import Study
from ..state import State
from ..status import CellStatus, States
from .commands import Slurm, SlurmError
from .search import find_states

# Longer than Slurm's MessageTimeout of 10 s: after that a request of sbatch's has arrived, or never will.
ON_ITS_WAY_S = 15.0


def sbatch_command(study: Study, folder: StudyFolder, cell: Cell, attempt: int, after: str | None = None) -> list[str]:
    """Returns the call that submits a cell.

    Args:
        study: The plan.
        folder: The study's files.
        cell: The cell.
        attempt: The number of the attempt, from 1.
        after: The number of a job that must have ended before; None for none.

    Raises:
        InputError: The script calls launch/job of a checkout, and there is none.
    """
    out = folder.cell(cell.name)
    home = checkout.variables(Path(study.directory), folder.script.read_text(encoding="utf-8"))
    variables = {"ADABATCH_LAUNCHER": study.launcher, **home}
    return [
        "sbatch",
        "--parsable",
        f"--nodes={cell.nodes}",
        f"--ntasks-per-node={study.ranks_per_node}",
        f"--job-name={study.job_name(cell.name, attempt)}",
        f"--output={str(out).replace('%', '%%')}/slurm-%j.out",
        f"--chdir={study.directory}",
        ",".join(["--export=ALL", *(f"{name}={value}" for name, value in variables.items())]),
        *study.sbatch,
        *([f"--dependency=afterany:{after}"] if after is not None else []),
        str(folder.script),
        cell.verb,
        str(folder.recipe),
        *cell.arguments,
        "--out",
        str(out),
    ]


def submit(
    study: Study,
    folder: StudyFolder,
    slurm: Slurm,
    cells: Sequence[Cell],
    *,
    retry: Collection[State] = (),
    chain: bool = False,
    say: Callable[[str], None],
) -> list[Cell]:
    """Submits those of the cells that are to be submitted. Returns them.

    Args:
        study: The plan.
        folder: The study's files.
        slurm: The commands.
        cells: The cells that may be submitted.
        retry: States of ended jobs whose cells are submitted again.
        chain: True where each job waits for the end of the one before.
        say: Prints one line.

    Raises:
        InputError: Another submit is running, or the folder cannot be written.
        SlurmError: The command squeue does not answer, or sbatch refused. What was submitted stays.
    """
    done: list[Cell] = []
    with folder.lock():
        # 1  What is there: with no request on its way, and jobs that an earlier call lost sight of written down.
        states = _settled(study, folder, slurm, cells, say)
        if _adopt(folder, states, say):
            states = find_states(study, folder, slurm)
        # 2  One cell after another: the first that is refused ends the call, and the next call goes on there.
        after = last_active(states) if chain else None
        for status in states.to_start(cells, retry):
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
    cell, attempt = status.cell, status.next_attempt
    command = sbatch_command(study, folder, cell, attempt, after)
    folder.make_cell(cell.name)
    submissions.write(folder, cell.name, attempt, command=command)  # the intent: a crash from here on is found again
    try:
        job_id = slurm.submit(command)
    except SlurmError as error:
        submissions.write(folder, cell.name, attempt, error=str(error), refused=not error.unsure)
        raise
    submissions.write(folder, cell.name, attempt, job_id=job_id)
    return job_id


def _settled(
    study: Study, folder: StudyFolder, slurm: Slurm, cells: Iterable[Cell], say: Callable[[str], None]
) -> States:
    """Returns the states once no request for these cells can be on its way any more.

    Raises:
        SlurmError: The command squeue does not answer.
    """
    told = False
    while True:
        states = find_states(study, folder, slurm)
        if states.silent is not None:
            raise SlurmError(f"{states.silent}; nothing was submitted: it is not known which jobs are there")
        unsure = [status for status in states.of(cells) if status.unsure and not status.found]
        youngest_s = max((status.attempts[-1].began_s for status in unsure), default=0.0)
        left_s = youngest_s + ON_ITS_WAY_S - time.time()
        if left_s <= 0:
            return states
        if not told:
            say(f"an earlier sbatch was cut short: waiting {left_s:.0f} s for a job that may be on its way")
            told = True
        slurm.wait(min(1.0, left_s))


def _adopt(folder: StudyFolder, states: States, say: Callable[[str], None]) -> bool:
    """Writes down the jobs that were found by name. Reports whether there were any."""
    found = [(status.cell.name, *one) for status in states.cells for one in status.unwritten]
    for cell, attempt, job_id in found:
        submissions.write(folder, cell, attempt, job_id=job_id)
        say(f"{cell}  job {job_id}, which an earlier call has submitted")
    return bool(found)


def last_active(states: States) -> str | None:
    """Returns the number of the newest job that waits or runs; None where there is none."""
    active = [status.job_id for status in states.cells if status.state.active and status.job_id is not None]
    return max(active, key=int, default=None)


def dry_run(
    study: Study,
    folder: StudyFolder,
    statuses: Sequence[CellStatus],
    overrides: Sequence[str],
    *,
    chain: bool,
    after: str | None = None,
) -> Iterator[str]:
    """Yields lines for a shell that do what submit would, one a cell.

    Args:
        study: The plan.
        folder: The study's files.
        statuses: The cells that are to be submitted.
        overrides: Variables that would win over the script.
        chain: True where each job waits for the end of the one before.
        after: The number of the job that the first of a chain waits for; None for none.
    """
    if overrides:
        yield f"unset {' '.join(overrides)}"
    yield f"cd {shlex.quote(study.directory)}"
    for index, status in enumerate(statuses):
        cell = status.cell
        if status.unsure:
            yield f"# {cell.name}: an earlier sbatch was cut short; submit looks for its job first"
        line = shlex.join(sbatch_command(study, folder, cell, status.next_attempt, after if index == 0 else None))
        if chain:
            if index > 0:
                line = line.replace("sbatch ", 'sbatch --dependency=afterany:"$previous" ', 1)
            line = f"previous=$({line} | tail -n 1 | cut -d ';' -f 1)"
        yield f"mkdir -p {shlex.quote(str(folder.cell(cell.name)))} && {line}"


def test_only(study: Study, folder: StudyFolder, slurm: Slurm, cells: Iterable[Cell]) -> Iterator[tuple[bool, str]]:
    """Asks Slurm about each cell without submitting it. Yields whether Slurm would take it, and what it said."""
    for cell in cells:
        command = sbatch_command(study, folder, cell, 1)
        try:
            said = slurm.test([command[0], "--test-only", *command[1:]])
        except SlurmError as error:
            yield False, f"{cell.name}: {error}"
        else:
            yield True, f"{cell.name}: {' '.join(said.split()).removeprefix('sbatch: ') or 'ok'}"
