"""The curves of a run as an offline run of Weights & Biases, in the folder ``wandb`` of the run.

``wandb sync`` sends it from a machine with a network, such as a login node: compute nodes need neither network nor the
package, an extra. It is written from the journal, also of a run that trains, and again when the run has gone on: under
the same id, with each point once. The run itself does not write it: wandb writes by a process of its own, which a
signal to the whole job ends, and for which a trainer would wait where it stands still.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ...environment import changed
from ...errors import InputError, StorageError, reading
from ...files import make_writable, writing
from ...training.journal import Record
from ...yaml_core import load
from ..folder import RunFolder
from .scalars import Curves

NAME = "wandb"
NEEDS = "wandb>=0.26"
SHOW = "wandb sync"
_OURS = "adabatch-"  # begins the ids: a script may keep runs of its own in that folder
_FACTS = ("kind", "step", "cursor", "epoch", "time_s", "format")  # of the journal's lines, not of what the run is
_SPARE = 1 << 20  # bytes; a disk with fewer is taken for full

# Reports of usage and of errors are off, and what it logs and keeps for itself does not go into the user's home.
_NO_REPORTS = {"WANDB_ERROR_REPORTING": "false", "DO_NOT_TRACK": "1"}
_PLACES = ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")
# Of this machine, this process and this folder it shall note nothing: the run may have been elsewhere.
_SETTINGS: dict[str, Any] = {
    **{"silent": True, "console": "off", "disable_git": True, "disable_code": True, "disable_job_creation": True},
    **{"save_code": False, "x_disable_stats": True, "x_disable_meta": True, "x_disable_machine_info": True},
    **{"x_save_requirements": False},
}


def export(folder: Path, records: Sequence[Record], ended_s: float) -> Path:
    """Writes a run as an offline run of Weights & Biases, in place of an earlier one. Returns its folder.

    Args:
        folder: The folder of the run.
        records: The lines of its journal.
        ended_s: The time of the last line, in seconds since 1970.

    Raises:
        InputError: The package wandb is not installed, or the folder cannot be written.
        StorageError: The run cannot be written.
    """
    target, began_s = folder / NAME, ended_s - records[-1]["time_s"]
    places = {name: str(target) for name in _PLACES}
    with changed(_NO_REPORTS | places), _as_before():
        begin, end = _package()
        make_writable(target, given=target, allowed="a folder that can be written", example="false", field=NAME)
        with writing(target):
            config, run_id = _config(folder, records[0]), _make_room(target)
            try:
                run = begin(folder, run_id, config)
                for samples, row in _rows(records, began_s):
                    run.log(row, step=samples)
                run.finish()
            finally:
                end()
            _check_space(target)
    return next(target.glob(f"offline-run-*-{run_id}"))


def _make_room(folder: Path) -> str:
    """Removes an earlier offline run. Returns its id, or a new one."""
    earlier = sorted(folder.glob(f"offline-run-*-{_OURS}*"))
    for run in earlier:
        shutil.rmtree(run)
    return earlier[-1].name[earlier[-1].name.index(_OURS) :] if earlier else _OURS + secrets.token_hex(4)


def _package() -> tuple[Callable[..., Any], Callable[[], None]]:
    """Returns functions that begin a run and that end the package's process."""
    try:
        from wandb import Error, Settings, init, teardown
    except ImportError as error:
        hint = f"pip install '{NEEDS}'"
        raise InputError(NAME, "true, without the package wandb", "false", hint) from error

    def begin(folder: Path, run_id: str, config: dict[str, Any]) -> Any:
        settings = Settings(**{name: value for name, value in _SETTINGS.items() if name in Settings.model_fields})
        named: dict[str, Any] = {"id": run_id, "name": folder.resolve().name, "dir": str(folder), "config": config}
        try:
            return init(mode="offline", reinit="create_new", settings=settings, **named)
        except Error as error:
            raise StorageError(f"{folder / NAME} cannot be written by wandb: {error}") from error

    return begin, teardown


@contextmanager
def _as_before() -> Iterator[None]:
    """Gives Python's ways out back, which wandb takes over to learn the exit code."""
    ways = sys.exit, sys.excepthook
    try:
        yield
    finally:
        sys.exit, sys.excepthook = ways


def _config(folder: Path, start: Record) -> dict[str, Any]:
    """Returns the recipe's fields, where there is one, and under ``start`` what the journal says of the run."""
    recipe, allowed = RunFolder(folder).config, "the recipe of the run, as adabatch train wrote it"
    with reading("RUN", recipe, allowed, f"mv {recipe} {recipe}.damaged"):
        try:
            fields = load(recipe.read_text(encoding="utf-8")) if recipe.exists() else {}
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
        return {**fields, "start": {name: value for name, value in start.items() if name not in _FACTS}}


def _rows(records: Sequence[Record], began_s: float) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the points of all lines that have the same samples, of a tag the last; words by the kind of their line."""
    curves = Curves()
    for samples, lines in itertools.groupby(records, lambda record: record["cursor"]):
        row: dict[str, Any] = {}
        time_s = 0.0
        for record in lines:
            values, words = curves.take(record)
            row |= values if words is None else {**values, f"told/{record['kind']}": words}
            time_s = record["time_s"]
        if row:  # _timestamp is W&B's wall time; its relative time is that of this process
            yield samples, {**row, "run/time_s": time_s, "_timestamp": began_s + time_s}


def _check_space(folder: Path) -> None:
    """Sees that the disk is not full, as wandb tells nobody what it could not write.

    Raises:
        OSError: It is.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_SPARE))
        file.flush()
        os.fsync(file.fileno())
