"""The places there are: the one module that asks where a study runs."""

from __future__ import annotations

from pathlib import Path

from ..errors import require
from .folder import StudyFolder
from .job import Job
from .local import ThisMachine
from .place import Place
from .slurm.commands import Slurm
from .slurm.queue import SlurmQueue
from .spec import Study

PLACES: dict[str, type[Place]] = {"slurm": SlurmQueue, "local": ThisMachine}
"""The places by the name that --where gives them."""
_BRIEFLY_S = 10.0  # for people who wait for `adabatch doctor`


def place_of(study: Study, folder: StudyFolder) -> Place:
    """Returns the place of a study's jobs.

    Raises:
        InputError: There is no such place.
    """
    require(study.where in PLACES, "study.json", f"where {study.where}", ", ".join(PLACES), "adabatch study plan NAME")
    return PLACES[study.where](study, folder)


def enclosing_job(job_id: str) -> tuple[Job | None, str | None]:
    """Returns the Slurm job that this process is in, and its batch script; None for what Slurm does not tell.

    Args:
        job_id: The job's number.
    """
    slurm = Slurm(Path.cwd(), _BRIEFLY_S)
    return slurm.control(job_id), slurm.script(job_id)
