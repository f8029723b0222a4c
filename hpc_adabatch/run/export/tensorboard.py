"""The curves of a run as TensorBoard's events, in the folder ``tensorboard`` of the run, while it trains or later.

``tensorboard --logdir FOLDER`` then shows every run in FOLDER by its name. The package tensorboard is an extra.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError, complain, require
from ...files import writing
from ...training.journal import Record
from .scalars import Curves

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NAME = "tensorboard"
NEEDS = "tensorboard>=2.14"
SHOW = "tensorboard --logdir"


class TensorBoard:
    """A listener to a journal that writes each line's points at once. What it cannot write ends no training.

    Args:
        folder: The folder of the run.
        records: The lines of the journal so far: points of a part that is done again are taken back.

    Raises:
        InputError: TensorBoard is not installed.
        StorageError: The events cannot be written.
    """

    def __init__(self, folder: Path, records: Sequence[Record]) -> None:
        self._curves = Curves()
        with writing(folder / NAME):
            writer = _writer(folder / NAME, records[-1]["cursor"] + 1 if records else 0)
        self._writer: SummaryWriter | None = writer
        self._began_s: float | None = None
        for record in records:
            self._curves.take(record)  # written before

    def take(self, record: Record) -> None:
        """Writes the points of a line."""
        if self._writer is None:
            return
        if self._began_s is None:
            self._began_s = time.time() - record["time_s"]
        try:
            _write(self._writer, self._curves, record, self._began_s)
            if record["kind"] in ("evaluation", "end"):
                self._writer.flush()
        except OSError as error:
            complain(f"adabatch: warning: TensorBoard's events cannot be written ({error}); training goes on")
            self._writer = None


def export(folder: Path, records: Sequence[Record], ended_s: float) -> Path:
    """Writes the events of a run. Returns their folder.

    Args:
        folder: The folder of the run.
        records: The lines of its journal.
        ended_s: The time of the last line, in seconds since 1970.

    Raises:
        InputError: The folder of the events is there already, or TensorBoard is not installed.
        StorageError: The events cannot be written.
    """
    target = folder / NAME
    given = f"{target}, which is there already"
    require(not target.exists(), "tensorboard", given, "a run without it", f"{SHOW} {target}")
    curves, began_s = Curves(), ended_s - records[-1]["time_s"]
    with writing(target):
        writer = _writer(target, None)
        for record in records:
            _write(writer, curves, record, began_s)
        writer.close()
    return target


def _writer(folder: Path, again_from: int | None) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        hint = f"pip install '{NEEDS}'"
        raise InputError("tensorboard", "true, without the package tensorboard", "false", hint) from error
    return SummaryWriter(str(folder), purge_step=again_from)


def _write(writer: SummaryWriter, curves: Curves, record: Record, began_s: float) -> None:
    samples, when_s = record["cursor"], began_s + record["time_s"]
    values, words = curves.take(record)
    for tag, value in values.items():
        writer.add_scalar(tag, value, samples, walltime=when_s)
    if words is not None:
        writer.add_text("told", words, samples, walltime=when_s)
