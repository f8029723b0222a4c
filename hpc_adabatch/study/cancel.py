"""Ending the jobs of a study that wait or run.

Not here: cells on this machine, which Ctrl-C ends (local.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from . import submissions
from .cells import Cell
from .folder import StudyFolder
from .slurm import Slurm, SlurmError
from .spec import Study
from .status import CellStatus, find_states


def cancel(study: Study, folder: StudyFolder, slurm: Slurm, cells: Sequence[Cell]) -> list[CellStatus]:
    """Calls scancel for what waits or runs of these cells. Returns those.

    Raises:
        InputError: a submit is running, or the folder cannot be written.
        SlurmError: Slurm does not answer, or refused.
    """
    wanted = {cell.name for cell in cells}
    with folder.lock():
        states = find_states(study, folder, slurm)
        if states.silent is not None:
            raise SlurmError(f"{states.silent}; nothing was cancelled")
        active = [
            status
            for status in states.cells
            if status.cell.name in wanted and status.job_id is not None
            and status.state in ("PENDING", "RUNNING", "STALLED")
        ]  # fmt: skip
        if active:
            slurm.cancel([str(status.job_id) for status in active])
        for status in active:
            submissions.write(folder, status.cell.name, status.attempt, job_id=status.job_id, cancelled=True)
    return active
