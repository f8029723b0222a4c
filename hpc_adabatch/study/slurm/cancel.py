"""Ending the jobs of a study that wait or run."""

from __future__ import annotations

from collections.abc import Sequence

from .. import submissions
from ..cells import Cell
from ..folder import StudyFolder
from ..spec import Study
from ..status import CellStatus
from .commands import Slurm, SlurmError
from .search import find_states


def cancel(study: Study, folder: StudyFolder, slurm: Slurm, cells: Sequence[Cell]) -> list[CellStatus]:
    """Calls scancel for the jobs of these cells that wait or run. Returns the states of those cells before.

    Raises:
        InputError: A submit is running, or the folder cannot be written.
        SlurmError: Slurm does not answer, or refused.
    """
    with folder.lock():
        states = find_states(study, folder, slurm)
        if states.silent is not None:
            raise SlurmError(f"{states.silent}; nothing was cancelled")
        active = [status for status in states.of(cells) if status.state.active and status.job_id is not None]
        if active:
            slurm.cancel([str(status.job_id) for status in active])
        for status in active:
            for attempt, job_id in status.unwritten:
                submissions.write(folder, status.cell.name, attempt, job_id=job_id)
            submissions.write(folder, status.cell.name, status.attempt, job_id=status.job_id, cancelled=True)
    return active
