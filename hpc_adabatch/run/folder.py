"""The folder of a run: whose it is, and what lies where.

docs/run-folder.md describes the files.

Not here: writing them (journal.py, checkpoint.py, result.py).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..errors import InputError, require
from . import checkpoint


class RunFolder:
    """Paths of a run's files.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.journal = path / "journal.jsonl"
        self.result = path / "result.json"
        self.picture = path / "training.png"
        self.checkpoint = path / "checkpoint"

    def claim(self, *, resume: bool) -> None:
        """Makes the folder and sees that it can be written; call on rank 0 only.

        Raises:
            InputError: it cannot, or it holds another run.
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


def make_writable(folder: Path, *, given: Path, allowed: str, example: str) -> None:
    """Makes the folder where it is missing, and sees that files can be written there.

    Raises:
        InputError: they cannot; with what was given, what is allowed and what to type.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError("out", f"{given} ({reason})", allowed, example) from error
