"""The journal of a run: every statistic and decision, one JSON object a line, as docs/run-folder.md describes it."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Journal:
    """A journal to which records are appended, each of which reaches the operating system at once.

    Args:
        path: The file; None on ranks that do not write.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._began_s = time.monotonic()

    def elapsed_s(self) -> float:
        """Returns the seconds of this run, earlier parts of a resumed one included."""
        return time.monotonic() - self._began_s

    def record(self, kind: str, *, step: int, cursor: int, epoch: int, **fields: Any) -> None:
        """Appends a line. Numbers that are not finite become null: JSON has none."""
        if self.path is None:
            return
        line = {"kind": kind, "step": step, "cursor": cursor, "epoch": epoch, "time_s": round(self.elapsed_s(), 4)}
        line |= {name: _finite(value) for name, value in fields.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def read(self) -> list[Record]:
        """Returns all records so far; none on ranks that do not write."""
        return read(self.path) if self.path is not None else []

    def position(self) -> int:
        """Returns the bytes written so far."""
        return self.path.stat().st_size if self.path is not None and self.path.exists() else 0

    def go_back(self, position: int, elapsed_s: float) -> None:
        """Forgets the records after a checkpoint that is being resumed: their work will be done again.

        Args:
            position: The bytes that were written at the checkpoint.
            elapsed_s: The seconds of the run until then.
        """
        self._began_s = time.monotonic() - elapsed_s
        if self.path is not None and self.path.exists():
            with self.path.open("r+b") as file:
                file.truncate(position)


def read(path: Path) -> list[Record]:
    """Returns all complete records of a journal."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
