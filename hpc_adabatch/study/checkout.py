"""The folder whose launch/run and launch/job start the ranks of a study's cells.

Its place is looked up when a cell is started: ADABATCH_HOME, else the folder that the study was planned in, else the
checkout that this package lies in, or what an installed package brings (shipped.py).
"""

from __future__ import annotations

from pathlib import Path

from ..environment import home
from ..errors import InputError
from ..shipped import root


def checkout(directory: Path, field: str, given: str) -> Path:
    """Returns the folder that has launch/run.

    Args:
        directory: The folder that the study was planned in.
        field: The field of ``plan`` that needs it, for the message.
        given: Its value.

    Raises:
        InputError: There is none.
    """
    for folder in (home(), directory, root()):
        if folder is not None and (folder / "launch" / "run").is_file():
            return folder.absolute()
    allowed = "a plan made in the checkout, which has launch/run and launch/job"
    raise InputError(
        field, f"{given}, planned in {directory}", allowed, "cd CHECKOUT, or export ADABATCH_HOME=CHECKOUT"
    )


def variables(directory: Path, script: str) -> dict[str, str]:
    """Returns the variable with which a batch script finds launch/job; none where it needs none.

    Args:
        directory: The folder that the study was planned in, where sbatch is called.
        script: The text of the batch script.

    Raises:
        InputError: The script wants launch/job, and there is none.
    """
    if "launch/job" not in script:
        return {}
    folder = checkout(directory, "template", "a script that calls launch/job")
    if "," in str(folder):  # at which sbatch would end the value
        allowed = "a checkout without a comma in its path"
        raise InputError(
            "template", f"a script that calls {folder}/launch/job", allowed, "export ADABATCH_HOME=CHECKOUT"
        )
    return {} if folder == directory else {"ADABATCH_HOME": str(folder)}
