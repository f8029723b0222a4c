"""The folder of a study, written so that no file is ever half there.

studies/NAME/
    study.json         the plan; the whole folder appears by one rename, complete
    recipe.yaml        byte copies
    train.sbatch
    submissions.jsonl  what was asked of Slurm, a line before and a line after
    lock               held (flock) by whoever submits; the process and its host stand in it
    owner.json         the same where the file system has no locks (run/owner.py); children do not hold it
    cells/CELL         one job: result.json when complete, journal.jsonl, checkpoint, slurm-JOBID.out
    results.csv        one line for each cell
    report             tables, pictures, a page
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

from ..errors import InputError, require
from ..files import sync_folder, synced, whole
from ..run import owner
from .spec import Study, check_name, from_json

_BRIEFLY_S = 2.0
"""Seconds to wait for the lock: status holds it for a moment, another submit for longer."""
_ONE_AT_A_TIME = "one submit or cancel at a time: wait for its end"
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}  # Lustre mounted without flock; NFS without its lock service


def now() -> str:
    """Returns the time now in ISO 8601: local time with its offset."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what the operating system says of a disk that is full or closed into one line.

    Raises:
        InputError: The operating system refused.
    """
    try:
        yield
    except OSError as error:
        given = f"{path} ({error.strerror or error})"
        raise InputError("folder", given, "a folder that can be written, with room in it", "--folder DIR") from error


class StudyFolder:
    """The files of a study.

    Args:
        root: The folder of all studies.
        name: The study's name.

    Raises:
        InputError: A name that no study may have, or a path that Slurm cannot write to.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.path = (root / check_name(name)).absolute()
        usable = str(self.path).isprintable() and "\\" not in str(self.path)
        require(usable, "folder", repr(str(self.path)), "a path without control characters and \\", "--folder studies")
        self.study = self.path / "study.json"
        self.recipe = self.path / "recipe.yaml"
        self.script = self.path / "train.sbatch"
        self.submissions = self.path / "submissions.jsonl"
        self.results = self.path / "results.csv"
        self._lock = self.path / "lock"

    def cell(self, name: str) -> Path:
        """Returns the folder of a cell."""
        return self.path / "cells" / name

    def create(self, study: Study) -> None:
        """Writes the plan, with copies of its recipe and template; all of it or nothing.

        Raises:
            InputError: A study of this name exists, or the folder cannot be written.
        """
        allowed, hint = "a new name", f"adabatch study plan {study.name}-2"
        require(not self.path.exists(), "NAME", f"{self.path}, which exists", allowed, hint)
        temporary = self.path.with_name(f".{study.name}.{os.getpid()}.tmp")
        with _writing(self.path):
            try:
                (temporary / "cells").mkdir(parents=True)
                files = {"recipe.yaml": Path(study.recipe).read_bytes()}
                if study.template:
                    files["train.sbatch"] = Path(study.template).read_bytes()
                files["study.json"] = study.to_json().encode()
                for name, content in files.items():
                    with synced(temporary / name) as file:
                        file.write(content)
                sync_folder(temporary)
                temporary.rename(self.path)  # fails where another plan was first
                sync_folder(self.path.parent)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def load(self) -> Study:
        """Reads the plan.

        Raises:
            InputError: There is no plan, or it is damaged.
        """
        try:
            return from_json(self.study.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            given = f"{self.path} ({type(error).__name__})"
            raise InputError("NAME", given, "a study that was planned", "adabatch study plan NAME") from error

    def make_cell(self, name: str) -> Path:
        """Makes the cell's folder where it is missing, as sbatch makes none for its output. Returns the folder.

        Raises:
            InputError: The folder cannot be made.
        """
        with _writing(self.cell(name)):
            self.cell(name).mkdir(parents=True, exist_ok=True)
        return self.cell(name)

    def append(self, line: str) -> None:
        """Writes a line at the end of submissions.jsonl; the line is on the disk when this returns.

        Raises:
            InputError: The file cannot be written.
        """
        with _writing(self.submissions), synced(self.submissions, "a+b") as file:
            if file.tell() > 0:  # at the end: what was cut short there must not swallow this line
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(f"{line}\n".encode())

    def replace(self, path: Path, text: str) -> None:
        """Gives a file another content: readers see the old one or the new one, never a half.

        Raises:
            InputError: The file cannot be written.
        """
        with _writing(path), whole(path, concurrent=True) as file:  # status and collect take no lock
            file.write(text.encode())

    @contextmanager
    def lock(self) -> Iterator[int]:
        """Keeps everybody else from submitting, until the block ends and every process with the descriptor is gone.

        Raises:
            InputError: Somebody else submits; the line says who.
        """
        give_up_s = time.monotonic() + _BRIEFLY_S
        with _writing(self._lock):
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            while (locked := self._locked(descriptor)) is False:
                who = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                given = f"{self.path}, which is in use by {who or 'someone'}"
                require(time.monotonic() < give_up_s, "NAME", given, _ONE_AT_A_TIME)
                time.sleep(0.1)
            with nullcontext() if locked else self._owned(give_up_s):
                with _writing(self._lock):
                    os.ftruncate(descriptor, 0)
                    line = f"process {os.getpid()} on {socket.gethostname()} since {now()}\n"
                    os.pwrite(descriptor, line.encode(), 0)
                yield descriptor
        finally:
            os.close(descriptor)

    def in_use(self) -> bool:
        """Reports whether someone holds the lock."""
        try:
            descriptor = os.open(self._lock, os.O_RDONLY)
        except OSError:
            return False
        try:
            locked = self._locked(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)
        return owner.Owner(self.path).lives() if locked is None else not locked

    def _locked(self, descriptor: int, kind: int = fcntl.LOCK_EX) -> bool | None:
        """Locks the file. Reports whether it could; None where the file system has no locks."""
        with _writing(self._lock):
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    return None
                raise
        return True

    @contextmanager
    def _owned(self, give_up_s: float) -> Iterator[None]:
        """Does what the lock does, by a file that tells who is there."""
        me = owner.Owner(self.path)
        while True:
            try:
                me.claim()
                break
            except InputError as error:
                require(time.monotonic() < give_up_s, "NAME", error.given, _ONE_AT_A_TIME)
                time.sleep(0.1)
        with me:
            yield

    def quiet_s(self, name: str) -> float:
        """Returns the seconds since a file changed in the cell's folder, but for the one that a mere thread renews."""
        files = [path for path in self.cell(name).glob("*") if path.name != owner.NAME]
        moved = [_moved_s(path) for path in (self.cell(name), *files)]
        return max(0.0, time.time() - max(moved))


def _moved_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # gone meanwhile
        return 0.0
