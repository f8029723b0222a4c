"""Asking a run for a checkpoint, from outside: a file in its folder, which is gone when the checkpoint is written."""

from __future__ import annotations

import time
from pathlib import Path

from ..errors import StorageError, require
from ..files import writing
from ..training.checkpoint import LAST
from .folder import RunFolder

LOOK_EVERY_S = 0.1


def ask(path: Path) -> str:
    """Asks the run in the folder for a checkpoint, and waits until it is written. Returns a line for people.

    Raises:
        InputError: No run trains in the folder.
        StorageError: The request or the checkpoint could not be written.
    """
    folder = RunFolder(path)
    last, example = folder.checkpoint / LAST, "adabatch checkpoint runs/NAME"
    running = path.is_dir() and folder.owner.writer() is not None
    require(running, "RUN", f"{path}, in which no run trains", "the folder of a run that trains now", example)
    before = _stamp(last)
    with writing(folder.request):
        folder.request.touch()
    try:
        while folder.request.exists() and folder.owner.writer() is not None:
            time.sleep(LOOK_EVERY_S)
    finally:
        folder.request.unlink(missing_ok=True)
    if _stamp(last) == before:
        raise StorageError(f"{last} was not written: the run in {path} says why, or is over")
    return f"{last}: written"


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
