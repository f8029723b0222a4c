"""``adabatch export RUN [RUN ...]``: journals for other tools, as CSV, Parquet or TensorBoard's events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import reading, require
from ..report.account import ALLOWED, Account, accounts
from .columns import columns
from .table_file import SUFFIXES, write
from .tensorboard import SHOW
from .tensorboard import export as export_events

EXAMPLE = "adabatch export runs/NAME --to run.csv"


def export(folders: Sequence[Path], to: Path | None, *, tensorboard: bool) -> Iterator[str]:
    """Writes what is asked for. Yields a line for each thing that was written.

    Args:
        folders: The folders of the runs.
        to: The file of the table; None for none.
        tensorboard: True for events in the folder of each run.

    Raises:
        InputError: There is no run in a folder, nothing is asked for, or a package is not installed.
        StorageError: A file cannot be written.
    """
    require(to is not None or tensorboard, "to", "nothing", f"a file *{' or *'.join(SUFFIXES)}", EXAMPLE)
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
        yield from (_events(run) for run in runs)


def _events(run: Account) -> str:
    with reading("RUN", run.folder.path, ALLOWED, EXAMPLE):
        target = export_events(run.folder.path, run.records, run.folder.journal.stat().st_mtime)
    return f"wrote {target}; type: {SHOW} {target}"
