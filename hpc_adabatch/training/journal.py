"""Every statistic and decision of a run, one JSON object a line.

docs/run-folder.md describes the format for other tools.

Not here: what is worth writing (adaptive.py, run.py).
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Journal:
    """Appends records to ``path``; None for ranks that do not write.

    Each line reaches the operating system when it is written, so a killed run keeps its journal.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._began_s = time.monotonic()

    def elapsed_s(self) -> float:
        """Seconds of this run, earlier parts of a resumed one counted in."""
        return time.monotonic() - self._began_s

    def record(self, kind: str, *, step: int, cursor: int, epoch: int, **fields: Any) -> None:
        """One line. Numbers that are not finite become null: JSON has none."""
        if self.path is None:
            return
        line = {"kind": kind, "step": step, "cursor": cursor, "epoch": epoch, "time_s": round(self.elapsed_s(), 4)}
        line |= {name: _finite(value) for name, value in fields.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def read(self) -> list[Record]:
        """All records so far; none on ranks that do not write."""
        return read(self.path) if self.path is not None else []

    def position(self) -> int:
        """Bytes written so far."""
        return self.path.stat().st_size if self.path is not None and self.path.exists() else 0

    def go_back(self, position: int, elapsed_s: float) -> None:
        """Forgets what was written after a checkpoint that is being resumed: that work will be done again."""
        self._began_s = time.monotonic() - elapsed_s
        if self.path is not None and self.path.exists():
            with self.path.open("r+b") as file:
                file.truncate(position)


def read(path: Path) -> list[Record]:
    """All complete records of a journal."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
