"""Writing checkpoints beside training, which stands still only while the state is copied.

    training    copy of the state -> goes on with the next step
    thread      journal on disk -> checkpoint on disk -> the file of a request is removed

One is written at a time: the next ``save`` waits for the one before, and tells what became of it. The first of a run is
waited for, so that a run without a checkpoint never had one (restart.check_nothing_lost); and so is the last.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from ..errors import StorageError
from ..files import writing
from ..training import checkpoint
from ..training.checkpoint_clock import CheckpointClock
from ..training.journal import Journal
from .folder import RunFolder


class Saver:
    """The checkpoints of a run, on rank 0.

    Args:
        folder: The run's folder.
        journal: Its journal, which must not be behind the checkpoint after a crash.
        clock: Is told how long writing took.
        warn: Is told why a checkpoint could not be written that nobody waited for.
    """

    def __init__(
        self, folder: RunFolder, journal: Journal, clock: CheckpointClock, warn: Callable[[StorageError], None]
    ) -> None:
        self._folder, self._journal, self._clock, self._warn = folder, journal, clock, warn
        self._thread: threading.Thread | None = None
        self._failed: BaseException | None = None

    def save(self, state: dict[str, Any], *, wait: bool) -> None:
        """Starts to write a copy of the state.

        Args:
            state: The state.
            wait: True to return when it is on disk.

        Raises:
            StorageError: The journal cannot be written; or the state, where this waits.
        """
        if before := self._outcome():
            self._warn(before)
        self._folder.owner.sign()
        self._journal.catch_up()
        copy = copied(state) | {"journal_bytes": self._journal.position()}
        self._thread = threading.Thread(target=self._write, args=(copy,), name="checkpoint")
        self._thread.start()
        if (wait or not checkpoint.exists(self._folder.checkpoint)) and (failed := self._outcome()):
            raise failed

    def _outcome(self) -> StorageError | None:
        """Waits for the last checkpoint. Returns why it could not be written, else None."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failed, self._failed = self._failed, None
        if failed is not None and not isinstance(failed, StorageError):
            raise failed
        return failed

    def _write(self, state: dict[str, Any]) -> None:
        began_s = time.monotonic()
        try:
            with writing(self._folder.journal):
                self._journal.sync()
            with writing(self._folder.checkpoint):
                checkpoint.save(self._folder.checkpoint, state)
        except BaseException as error:
            self._failed = error
        self._clock.wrote(time.monotonic() - began_s)
        with suppress(OSError):
            self._folder.request.unlink(missing_ok=True)


def copied(tree: Any) -> Any:
    """Returns nested dictionaries, lists and tuples with a copy of each tensor, in the memory of the host."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return type(tree)((key, copied(inner)) for key, inner in tree.items())
    return type(tree)(map(copied, tree)) if isinstance(tree, list | tuple) else tree
