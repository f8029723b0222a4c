"""The folder of a run, and the paths of its files, which docs/run-folder.md describes."""

from __future__ import annotations

import itertools
from pathlib import Path

from ..errors import InputError, require
from ..files import make_writable
from ..training import checkpoint
from .owner import Owner


class RunFolder:
    """The paths of a run's files.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.journal = path / "journal.jsonl"
        self.result = path / "result.json"
        self.picture = path / "training.png"
        self.checkpoint = path / "checkpoint"
        self.request = path / "checkpoint.request"
        self.owner = Owner(path)

    def claim(self, *, resume: bool) -> None:
        """Makes the folder, sees that it can be written and that no other run writes in it; called on rank 0 only.

        Args:
            resume: True where the run that the folder may hold is to go on.

        Raises:
            InputError: The folder cannot be written, it holds another run, or another run writes in it now.
        """
        self._check(resume=resume)
        make_writable(self.path, given=self.path, allowed="a folder that can be written", example="--out DIR")
        self.owner.claim()
        try:
            self._check(resume=resume)  # once more: a run may have come and gone before this one had the folder
        except InputError:
            self.owner.release()
            raise

    def _check(self, *, resume: bool) -> None:
        used = self.journal.exists() or checkpoint.exists(self.checkpoint)
        require(
            resume or not used,
            "out",
            f"{self.path}, which holds a run",
            "a new folder",
            "--resume auto, to go on with that run",
        )


def new_folder(path: Path) -> Path:
    """Makes a folder that was not there; called on rank 0 only.

    Args:
        path: The folder; where it is taken, a number is put behind its name.

    Returns:
        The folder; where nothing can be made, the path at which ``claim`` will say so.
    """
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(filter(_make, itertools.chain([path], numbered)))


def _make(path: Path) -> bool:
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True
