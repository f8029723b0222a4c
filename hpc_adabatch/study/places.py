"""The places there are: the one module that asks where a study runs."""

from __future__ import annotations

from ..errors import require
from .folder import StudyFolder
from .local import ThisMachine
from .place import Place
from .slurm.queue import SlurmQueue
from .spec import Study

PLACES: dict[str, type[Place]] = {"slurm": SlurmQueue, "local": ThisMachine}
"""The places by the name that --where gives them."""


def place_of(study: Study, folder: StudyFolder) -> Place:
    """Returns the place of a study's jobs.

    Raises:
        InputError: There is no such place.
    """
    require(study.where in PLACES, "study.json", f"where {study.where}", ", ".join(PLACES), "adabatch study plan NAME")
    return PLACES[study.where](study, folder)
