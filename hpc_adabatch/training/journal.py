"""The journal of a run: every statistic and decision, one JSON object a line, as docs/run-folder.md describes it."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import StorageError, complain, require
from ..files import synced, whole, writing
from ..records import FORMAT, check_format

Record = dict[str, Any]


class Journal:
    """A journal to which records are appended, each of which reaches the operating system at once.

    A full disk does not end training: lines that cannot be written are kept, and written before the next ones.

    Args:
        path: The file; None on ranks that do not write.

    Attributes:
        listeners: Each is told every line from here on.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.listeners: list[Callable[[Record], None]] = []
        self._began_s = time.monotonic()
        self._waiting: list[str] = []  # lines that could not be written yet

    def elapsed_s(self) -> float:
        """Returns the seconds of this run, earlier parts of a resumed one included."""
        return time.monotonic() - self._began_s

    def record(self, kind: str, *, step: int, cursor: int, epoch: int, **fields: Any) -> None:
        """Appends a line. Numbers that are not finite become null: JSON has none."""
        if self.path is None:
            return
        line = {"kind": kind, "step": step, "cursor": cursor, "epoch": epoch, "time_s": round(self.elapsed_s(), 4)}
        line |= {"format": FORMAT} if kind == "start" else {}
        line |= {name: _finite(value) for name, value in fields.items()}
        self._waiting.append(json.dumps(line, allow_nan=False) + "\n")
        for listen in self.listeners:
            listen(line)
        try:
            self.catch_up()
        except StorageError as error:
            if len(self._waiting) == 1:  # said once, until it can be written again
                complain(f"adabatch: warning: {error}; its lines are kept meanwhile")

    def catch_up(self) -> None:
        """Writes the lines that are not written yet.

        Raises:
            StorageError: They cannot be written; the journal ends with a whole line.
        """
        if self.path is None or not self._waiting:
            return
        with writing(self.path):
            written = self.position()
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.writelines(self._waiting)
            except OSError:
                os.truncate(self.path, written)
                raise
        self._waiting.clear()

    def read(self) -> list[Record]:
        """Returns all records so far; none on ranks that do not write."""
        return read(self.path) if self.path is not None else []

    def position(self) -> int:
        """Returns the bytes written so far."""
        return self.path.stat().st_size if self.path is not None and self.path.exists() else 0

    def sync(self) -> None:
        """Sees that what was written is on the disk: a checkpoint must not be ahead of its journal after a crash."""
        if self.path is not None and self.path.exists():
            with synced(self.path, "ab"):
                pass

    def start(self) -> Record | None:
        """Returns the first record, which says what the run is; None where there is none."""
        if self.path is None or not self.path.exists():
            return None
        with self.path.open("rb") as file:
            return record_of(file.readline())

    def go_back(self, position: int, elapsed_s: float, *, start: Record | None = None) -> bool:
        """Forgets the records after a checkpoint that is being resumed: their work will be done again.

        Args:
            position: The bytes that were written at the checkpoint.
            elapsed_s: The seconds of the run until then.
            start: The first record, to be written again where the file has lost it.

        Returns:
            False where records before the checkpoint are lost or damaged. Those that are whole stay.

        Raises:
            InputError: A newer release has written the journal, or it is a folder.
        """
        self._began_s = time.monotonic() - elapsed_s
        if self.path is None or (position == 0 and not self.path.exists()):
            return True
        require(
            not self.path.is_dir(), "resume", f"{self.path}, a folder", "the journal of a run", f"rmdir {self.path}"
        )
        content = self.path.read_bytes()[:position] if self.path.is_file() else b""
        lines = content.splitlines(keepends=True)
        kept = [line for line in lines if record_of(line) is not None]
        if kept:
            check_format(record_of(kept[0]) or {}, "resume", self.path)
        is_whole = len(content) == position and len(kept) == len(lines)
        if not is_whole and start is not None and (not kept or (record_of(kept[0]) or {})["kind"] != "start"):
            kept.insert(0, (json.dumps(start) + "\n").encode())
        with whole(self.path) as file:
            file.writelines(kept)
        return is_whole


def read(path: Path) -> list[Record]:
    """Returns all complete records of a journal; of several attempts, as earlier releases left them, those of the last.

    Raises:
        InputError: A line is damaged, or a newer release has written the journal.
        OSError: The file cannot be read.
    """
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if line.endswith(b"\n"):  # else it was being written
            record = record_of(line)
            mend = "--resume auto, which leaves damaged lines out"
            require(record is not None, "journal", f"{path}, damaged in line {number}", "the journal of a run", mend)
            records.append(record or {})
    starts = [at for at, record in enumerate(records) if record["kind"] == "start"]
    for at in starts:
        check_format(records[at], "journal", path)
    return records[starts[-1] :] if starts else records


def record_of(line: bytes) -> Record | None:
    """Returns the record of a line; None where it is none, or not complete."""
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and {"kind", "cursor"} <= record.keys() else None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
