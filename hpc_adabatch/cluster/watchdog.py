"""A thread that ends this rank when nothing moves any more.

    the loop   beat  beat  beat  -  -  -  -  (a peer is gone or frozen: the sum over ranks never comes back)
    watchdog                     |---- limit ----| says where the loop stands, leaves a note, exit code 75

A rank that waits in a sum can do nothing itself: launchers differ in whether they end it when a peer dies (plain srun
does not), none notices one that is frozen, and Horovod's own stall check never fires under Gloo. The thread runs all
the same, because Horovod waits without the interpreter's lock.

Not here: being told to stop (training/signals.py).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

EXIT_CODE = 75  # start me again, from the checkpoint
LOOKS = 20  # in the time of the limit


class Watchdog:
    """Watches the main thread of a rank.

    Args:
        limit_s: seconds without a beat that are too many; None watches nothing.
        rank: this one, for the message.
        note: a file to leave, for the batch script: launchers do not pass exit codes on in the same way.
    """

    def __init__(self, limit_s: float | None, rank: int, note: Path | None = None) -> None:
        self.limit_s, self.rank, self.note = limit_s, rank, note
        self._last_s = time.monotonic()
        self._over = threading.Event()
        self._main = threading.get_ident()
        if limit_s is not None:
            threading.Thread(target=self._watch, args=(limit_s,), name="watchdog", daemon=True).start()

    def beat(self) -> None:
        """Something moved."""
        self._last_s = time.monotonic()

    def stop(self) -> None:
        """Watches no longer."""
        self._over.set()

    def _watch(self, limit_s: float) -> None:
        while not self._over.wait(limit_s / LOOKS):
            if time.monotonic() - self._last_s > limit_s:
                self._end(limit_s)

    def _end(self, limit_s: float) -> None:
        print(
            f"adabatch: rank {self.rank}: nothing has moved for {limit_s:g} s, in {self._where()}: another rank is "
            f"gone or frozen; ends with {EXIT_CODE}; to go on: --resume auto; to wait longer: ADABATCH_STALL_S",
            file=sys.stderr,
            flush=True,
        )
        if self.note is not None:
            with contextlib.suppress(OSError):
                self.note.touch()
        os._exit(EXIT_CODE)

    def _where(self) -> str:
        """The line that the main thread stands at."""
        frame = sys._current_frames().get(self._main)
        if frame is None:
            return "a thread that has ended"
        code = frame.f_code
        return f"{code.co_name} ({Path(code.co_filename).name}:{frame.f_lineno})"
