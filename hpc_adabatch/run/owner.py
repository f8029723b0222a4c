"""The owner of a run's folder: the one process that writes in it, without a lock of the file system.

    owner.json                   who: host, process, job; its time of change is the last sign of life, every 20 s
    .owner-after-KEY.json        the one process that may follow the owner KEY, which is gone; it becomes owner.json

    same boot, same processes    gone when the process has ended
    same Slurm job, requeued     gone: Slurm has ended it before it started the job again
    otherwise                    gone after 2 minutes without a sign, by the file system's own clock

Each of the two files is made only where there is none (O_EXCL), so of all who start at once, one has the folder. An
owner that was frozen and taken for gone ends itself at its next sign, and before it writes a checkpoint.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from ..environment import slurm_job
from ..errors import InputError, complain
from ..processes import Process
from ..records import FORMAT, misfit
from ..terminal import display

NAME = "owner.json"
SIGN_S = 20.0  # from one sign of life to the next
GONE_S = 120.0  # without a sign: a file system over the network may show an old time for a minute
LOOK_S = 1.0
EXIT_CODE = 2


@dataclass(frozen=True, kw_only=True)
class Writer(Process):
    """A process that writes in a folder."""

    job: str | None
    """The Slurm job; None outside of one."""
    restarts: int
    """The number of times that Slurm has started the job again."""

    @classmethod
    def this(cls) -> Writer:
        """Returns the process that calls."""
        job, restarts = slurm_job()
        return cls(**asdict(Process.this()), job=job, restarts=restarts)

    def __str__(self) -> str:
        job = f" (Slurm job {self.job})" if self.job is not None else ""
        return f"process {self.pid} on {self.host}{job}"


@dataclass(frozen=True)
class Found:
    """An owner as its file shows it."""

    path: Path
    """The file."""
    seen_s: float
    """The time of its last sign, by the clock of the file system."""
    process: Writer | None
    """The owner; None where the file cannot be read, because it is just being written, or damaged."""

    @property
    def key(self) -> str:
        """Returns letters that no other owner has."""
        return self.process.key if self.process is not None else f"damaged-{self.seen_s}"

    @property
    def has_ended(self) -> bool | None:
        """Reports whether its process has ended; None where that cannot be seen from here."""
        return self.process.has_ended if self.process is not None and self.process.is_here else None


class Owner:
    """The claim of this process to a folder.

    Args:
        folder: The folder, which exists when ``claim`` is called.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / NAME
        self._me: Writer | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()  # a sign must not make the file again that is being removed

    def claim(self) -> None:
        """Makes this process the owner. Waits where it must, to see whether the owner on another host still lives.

        Raises:
            InputError: Another run writes in the folder, or the folder cannot be written.
        """
        self._me = Writer.this()
        try:
            self._take(self._me)
        except OSError as error:
            given = f"{error.filename or self._file} ({error.strerror or type(error).__name__})"
            raise InputError("out", given, "a folder that can be written", "--out DIR") from error
        self._over.clear()
        threading.Thread(target=self._give_signs, name="owner", daemon=True).start()
        atexit.register(self.release)

    def lives(self) -> bool:
        """Reports whether some process owns the folder; the folder must be one that can be written."""
        found = self.last()
        return found is not None and not self._is_gone(found, Writer.this())

    def sign(self) -> None:
        """Gives a sign of life; ends this process, with a line and code 2, where another one has taken the folder."""
        # a full disk, or a server that does not answer: the next sign may get through
        with self._lock, contextlib.suppress(OSError):
            me, found = self._me, self.last()
            if me is None:
                return
            if found is None:  # somebody has removed the file
                _create(self._file, me)
            elif found.key == me.key:
                os.utime(found.path)  # without a time: the file system's own
            elif found.process is not None:
                self._end(found.process)

    def writer(self) -> Writer | None:
        """Returns the process that writes in the folder; None where none does, as far as its last sign tells."""
        found = self.last()
        return None if found is None or self._is_gone(found, Writer.this()) else found.process

    def last(self) -> Found | None:
        """Returns the owner, gone or not: that of owner.json, or who follows it; None where there is none."""
        last, found = None, _read(self._file)
        while found is not None:
            last, found = found, _read(self._after(found.key))
        return last

    def release(self) -> None:
        """Gives the folder up, where this process has it."""
        self._over.set()
        atexit.unregister(self.release)
        with self._lock, contextlib.suppress(OSError):
            me, self._me = self._me, None
            found = self.last()
            if me is not None and found is not None and found.key == me.key:
                found.path.unlink()

    def __enter__(self) -> Owner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take(self, me: Writer) -> None:
        first: Found | None = None
        while (found := self.last()) is None or found.key != me.key:
            if found is not None and not self._is_gone(found, me):
                first = self._wait(found, first)
                continue
            path = self._file if found is None else self._after(found.key)
            # The chain is read again: an owner that follows one who is long replaced has nothing, and looks anew.
            if _create(path, me) and ((now := self.last()) is None or now.key != me.key):
                path.unlink(missing_ok=True)
        if found.path != self._file:
            os.replace(found.path, self._file)

    def _after(self, key: str) -> Path:
        return self._folder / f".owner-after-{key}.json"

    def _is_gone(self, found: Found, me: Writer) -> bool:
        other = found.process
        if other is not None and other.job is not None and other.job == me.job and other.restarts < me.restarts:
            return True
        if found.has_ended is not None:
            return found.has_ended
        return self._silent_s(found) > GONE_S

    def _wait(self, found: Found, first: Found | None) -> Found:
        """Waits for a sign of an owner that may live. Returns the owner as it was first seen.

        Raises:
            InputError: The owner lives.
        """
        other = found.process
        is_here = other is not None and other.is_here
        if first is None or (other is not None and first.key != found.key):  # the key of one that cannot be read moves
            first = found
            if other is not None and not is_here:  # a file that cannot be read yet is mostly just being written
                display(f"{self._folder}: waits for a sign of {_who(other)}, at most {GONE_S:g} s")
        if is_here or found.seen_s > first.seen_s:
            given = f"{self._folder}, in which {_who(other)} writes (last sign {self._silent_s(found):.0f} s ago)"
            raise InputError("out", given, "a folder that no run writes in", "--out DIR")
        time.sleep(LOOK_S)
        return first

    def _silent_s(self, found: Found) -> float:
        with tempfile.TemporaryFile(
            dir=self._folder
        ) as file:  # its time is now, on the clock that dates all files here
            return max(0.0, os.fstat(file.fileno()).st_mtime - found.seen_s)

    def _give_signs(self) -> None:
        while not self._over.wait(SIGN_S):
            self.sign()

    def _end(self, other: Writer) -> None:
        complain(
            f"adabatch: error: {self._folder} was silent for more than {GONE_S:g} s, and {other} has taken it;"
            f" this process writes nothing more and ends with {EXIT_CODE}"
        )
        os._exit(EXIT_CODE)


def _who(process: Writer | None) -> str:
    return str(process) if process is not None else f"whoever wrote {NAME}, which cannot be read"


def _create(path: Path, process: Writer) -> bool:
    """Writes the file where there is none. Reports whether it did; no half of it stays on a full disk."""
    content = f"{json.dumps(asdict(process))}\n".encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        if path.is_symlink():  # to nowhere: there is no owner, and none can be made
            raise OSError(errno.EEXIST, "a link to nowhere", str(path)) from None
        return False
    try:
        if os.write(descriptor, content) < len(content):  # at once: readers see all of it or nothing
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
    return True


def _read(path: Path) -> Found | None:
    try:
        with path.open("rb") as file:  # opening it makes a network's file system ask for its time
            content, seen_s = file.read(), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    try:
        record = {**json.loads(content)}
        readable = record.pop("format", 1) == FORMAT  # of a newer release nothing but its signs is understood
        process = Writer(**record)
        known = readable and misfit(process) is None and 0 < process.pid < 2**31
    except (ValueError, TypeError, RecursionError):
        known = False
    return Found(path, seen_s, process if known else None)
