"""A thread that ends this rank when nothing moves any more.

    the loop   beat  beat  beat  -  -  -  -  (another rank is gone or frozen, and a sum over ranks never ends)
    watchdog                     |---- limit ----| prints where the loop stands, leaves a note, exit code 75

A rank that waits in a sum cannot end itself. Launchers differ in whether they end it when another rank dies (plain srun
does not), none notices a frozen rank, and Horovod's own stall check never fires under Gloo. The thread goes on running,
because Horovod waits without the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

EXIT_CODE = 75  # EX_TEMPFAIL: the run may be started again, from its checkpoint
LOOKS = 20  # at the clock, within the limit


class Watchdog:
    """A thread that watches the main thread of a rank.

    Args:
        limit_s: The seconds without a beat after which the rank ends; None to watch nothing.
        rank: The number of this rank, for the message.
        note: A file to leave for the batch script, because not every launcher passes the exit code on; None for none.
    """

    def __init__(self, limit_s: float | None, rank: int, note: Path | None = None) -> None:
        self.limit_s, self.rank, self.note = limit_s, rank, note
        self._last_s = time.monotonic()
        self._over = threading.Event()
        self._main = threading.get_ident()
        if limit_s is not None:
            threading.Thread(target=self._watch, args=(limit_s,), name="watchdog", daemon=True).start()

    def beat(self) -> None:
        """Notes that the main thread moved."""
        self._last_s = time.monotonic()

    def stop(self) -> None:
        """Ends the watch."""
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
        """Returns the function and the line that the main thread stands at."""
        frame = sys._current_frames().get(self._main)
        if frame is None:
            return "a thread that has ended"
        code = frame.f_code
        return f"{code.co_name} ({Path(code.co_filename).name}:{frame.f_lineno})"
