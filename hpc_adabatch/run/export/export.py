"""``adabatch export RUN [RUN ...]``: journals for other tools, as tables, TensorBoard's events or runs of wandb."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...errors import reading, require
from ...training.journal import Record
from ..report.account import ALLOWED, Account, accounts
from . import tensorboard as events
from . import wandb as offline
from .columns import columns
from .table_file import SUFFIXES, write

EXAMPLE = "adabatch export runs/NAME --to run.csv"


def export(folders: Sequence[Path], to: Path | None, *, tensorboard: bool, wandb: bool = False) -> Iterator[str]:
    """Writes what is asked for. Yields a line for each thing that was written.

    Args:
        folders: The folders of the runs.
        to: The file of the table; None for none.
        tensorboard: True for events in the folder of each run.
        wandb: True for an offline run of Weights & Biases in the folder of each run.

    Raises:
        InputError: There is no run in a folder, nothing is asked for, or a package is not installed.
        StorageError: A file cannot be written.
    """
    require(to is not None or tensorboard or wandb, "to", "nothing", f"a file *{' or *'.join(SUFFIXES)}", EXAMPLE)
    if to is not None:
        allowed = f"a file whose name ends in {' or '.join(SUFFIXES)}"
        require(to.suffix in SUFFIXES and not to.is_dir(), "to", to, allowed, EXAMPLE)
        require(
            to.parent.is_dir(), "to", f"{to}, in no folder that there is", "a file in a folder that there is", EXAMPLE
        )
    runs = accounts(folders)
    if to is not None:
        with reading("RUN", " ".join(map(str, folders)), ALLOWED, EXAMPLE):
            table = columns({run.label: run.records for run in runs})
        write(to, table)
        yield f"wrote {to}: {len(table['kind'])} lines, {len(table)} columns"
    if tensorboard:
        for run in runs:
            target = _written(events.export, run)
            yield f"wrote {target}; type: {events.SHOW} {target}"
    if wandb:
        for run in runs:
            target = _written(offline.export, run)
            yield f"wrote {target}; type, where there is a network: {offline.SHOW} {target}"


def _written(write_into: Callable[[Path, Sequence[Record], float], Path], run: Account) -> Path:
    with reading("RUN", run.folder.path, ALLOWED, EXAMPLE):
        return write_into(run.folder.path, run.records, run.folder.journal.stat().st_mtime)
