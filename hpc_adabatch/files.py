"""Files that a crash or a full disk never leaves by half.

synced(path)    write -> fsync
whole(path)     write .NAME.tmp -> fsync -> rename to NAME -> fsync of the folder
writing(path)   what fails is told in one line: StorageError
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import InputError, StorageError, require
from .records import FORMAT


@contextmanager
def synced(path: Path, mode: str = "wb") -> Iterator[IO[bytes]]:
    """Opens a file whose content is on the disk when the block ends.

    Args:
        path: The file.
        mode: How to open it; binary.
    """
    with path.open(mode) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Makes what the operating system refuses within the block one line, with the path and the free space.

    Args:
        path: The file that the block writes.

    Raises:
        StorageError: An OSError was raised, or is the cause of what was.
    """
    try:
        yield
    except StorageError:
        raise
    except (OSError, RuntimeError) as error:  # torch.save ends with a RuntimeError of its own, over the OSError
        refused: BaseException | None = error
        while refused is not None and not isinstance(refused, OSError):
            refused = refused.__cause__ or refused.__context__
        if refused is None:
            raise
        reason = refused.strerror or str(refused)
        raise StorageError(f"{path} cannot be written: {reason}; {_free(path.parent)}") from error


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB are free there"
    except OSError:
        return "the folder is gone"


@contextmanager
def whole(path: Path, *, previous: Path | None = None, concurrent: bool = False) -> Iterator[IO[bytes]]:
    """Opens a file that takes the place of ``path`` when the block ends; where the block fails, the old one stays.

    Args:
        path: The file.
        previous: The path at which the old file is kept; None to drop it.
        concurrent: True where several processes may write the file at once: each then has a temporary file of its own,
            which stays behind when the process is killed.

    Raises:
        StorageError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp" if concurrent else f".{path.name}.tmp")
    with writing(path):
        try:
            with synced(temporary) as file:
                yield file
            # A kill between these two renames leaves the old file under its other name.
            if previous is not None and path.exists():
                os.replace(path, previous)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def write_new(path: Path, text: str, field: str, hint: str) -> None:
    """Writes a text file that was not there; one that is there stays as it is.

    Args:
        path: The file.
        text: Its content.
        field: The flag, or the word, by which it was given.
        hint: Words that would do.

    Raises:
        InputError: Something is there, or its folder cannot be written.
        StorageError: The file cannot be written.
    """
    require(not os.path.lexists(path), field, f"{path}, which is there already", "a file that is not", hint)
    make_writable(path.parent, given=path.parent, allowed="a folder that can be written", example=hint, field=field)
    with writing(path), path.open("x", encoding="utf-8") as file:
        file.write(text)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON, indented by 2, its format first: the file is there complete, or as it was before.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps({"format": FORMAT, **content}, indent=2, allow_nan=False)
    with whole(path) as file:
        file.write(f"{text}\n".encode())


def sync_folder(path: Path) -> None:
    """Sees that the folder's names are on the disk: those of files that were made, renamed or removed in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_writable(folder: Path, *, given: Path, allowed: str, example: str, field: str = "out") -> None:
    """Makes the folder where it is missing, and sees that files can be written there.

    Args:
        folder: The folder.
        given: The path that the user gave.
        allowed: The kind of folder that it may be, in words.
        example: Words that would do.
        field: The flag, or the word, by which it was given.

    Raises:
        InputError: The folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(field, f"{given} ({reason})", allowed, example) from error
