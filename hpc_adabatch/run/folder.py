"""The folder of a run, and the paths of its files, which docs/run-folder.md describes."""

from __future__ import annotations

from pathlib import Path

from ..errors import require
from ..files import make_writable
from . import checkpoint


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

    def claim(self, *, resume: bool) -> None:
        """Makes the folder and sees that it can be written; called on rank 0 only.

        Args:
            resume: True where the run that the folder may hold is to go on.

        Raises:
            InputError: The folder cannot be written, or it holds another run.
        """
        used = self.journal.exists() or checkpoint.exists(self.checkpoint)
        require(
            resume or not used,
            "out",
            f"{self.path}, which holds a run",
            "a new folder",
            "--resume auto, to go on with that run",
        )
        make_writable(self.path, given=self.path, allowed="a folder that can be written", example="--out DIR")
