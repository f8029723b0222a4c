"""The lines of a journal that are new since the last look.

The file is opened anew for each look: over the network a file that stays open may never show what another machine has
written since. A run that goes on from a checkpoint writes its journal anew, shorter, under the same name: then the
first look after it reads all of it again.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...training.journal import Record, record_of

_MARK = 256  # bytes before the place that was read up to: where they are others, the file is another


class JournalTail:
    """A journal that is read as it grows.

    Args:
        path: The file, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read, self._mark = 0, b""  # bytes, up to the end of a line; the last of them

    def new(self) -> tuple[bool, list[Record]]:
        """Returns whether the lines begin anew, and those since the last look; damaged ones are left out.

        Raises:
            OSError: The file cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                begins = self._read == 0 or not self._goes_on(file.fileno())
                if begins:
                    self._read, self._mark = 0, b""
                file.seek(self._read)
                text = file.read()
        except FileNotFoundError:
            return False, []
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        self._mark = (self._mark + whole)[-_MARK:]
        records = [record_of(line) for line in whole.splitlines(keepends=True)]
        return begins, [record for record in records if record is not None]

    def _goes_on(self, file: int) -> bool:
        return os.pread(file, len(self._mark), self._read - len(self._mark)) == self._mark
