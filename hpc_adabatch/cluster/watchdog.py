"""A thread that ends this rank when nothing moves any more.

    the loop   beat  beat  beat  -  -  -  -  (another rank is gone or frozen, and a sum over ranks never ends)
    watchdog                     |---- limit ----| prints what the rank was doing, leaves a note, exit code 75

A rank that waits in a sum cannot end itself. Launchers differ in whether they end it when another rank dies (plain srun
does not), none notices a frozen rank, and Horovod's own stall check never fires under Gloo. The thread goes on running,
because Horovod waits without the interpreter's lock.

    before the first step   an hour at least: all ranks are to start and to read their data, and wait for each other
    from then on            ADABATCH_STALL_S; without it 20 times the longest pause so far, 10 minutes at least

Pauses are counted in the thread's own looks, not by a clock: a job that was suspended as a whole has not stood still.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from ..errors import advice, complain

EXIT_CODE = 75  # EX_TEMPFAIL: the run may be started again, from its checkpoint
LOOKS = 20  # within the limit
LEAST_S = 600.0  # an evaluation, a checkpoint, or compiling the first step, before anything is learnt
TIMES = 20.0
PREPARING_S = 3600.0


class Watchdog:
    """A thread that watches the main thread of a rank, from the first phase on that it is told of.

    Args:
        rank: The number of this rank, for the message.
        limit_s: The seconds without a beat after which the rank ends; None to learn them; inf to watch nothing.
        note: A file to leave for the batch script, because not every launcher passes the exit code on; None for none.

    Attributes:
        phase: The words for what the main thread does.
        beats: The times that it has moved.
        waits: True while it waits for other ranks.
    """

    def __init__(self, rank: int, limit_s: float | None = None, note: Path | None = None) -> None:
        self.rank, self.note = rank, note
        self._given_s = limit_s
        self._slowest_s = 0.0
        self.phase, self.beats, self.waits = "", 0, False
        self._prepares = True
        self._rests = False
        self._over = threading.Event()
        self._main = 0
        self._thread: threading.Thread | None = None

    @property
    def limit_s(self) -> float:
        """Returns the seconds without a beat after which the rank ends, as they are now."""
        limit_s = self._given_s if self._given_s is not None else max(LEAST_S, TIMES * self._slowest_s)
        return max(PREPARING_S, limit_s) if self._prepares else limit_s

    def enter(self, phase: str, *, prepares: bool = False) -> None:
        """Notes that the main thread moved, and what it does next.

        Args:
            phase: Words for the message, such as ``step 12``.
            prepares: True for what comes before the first step.
        """
        self.phase, self._prepares, self._rests = phase, prepares, False
        self.beat()
        if self._thread is None and self._given_s != math.inf and not self._over.is_set():
            self._main = threading.get_ident()
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()

    def rest(self) -> None:
        """Watches nothing until the next phase: what the main thread does meanwhile is the caller's own."""
        self.phase, self._rests = "", True

    def beat(self) -> None:
        """Notes that the main thread moved."""
        self.beats += 1

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Notes that the main thread waits for other ranks within the block."""
        self.waits = True
        try:
            yield
        finally:
            self.waits = False
            self.beat()

    def stop(self) -> None:
        """Ends the watch, for good, and its thread."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        quiet_s, seen, prepared = 0.0, self.beats, self._prepares
        look_s = (self._given_s or LEAST_S) / LOOKS
        while not self._over.wait(look_s):
            if self.beats == seen and not self._rests:
                quiet_s += look_s
                if quiet_s > self.limit_s:
                    self._end(quiet_s)
                continue
            if not prepared:
                self._slowest_s = max(self._slowest_s, quiet_s)
            quiet_s, seen, prepared = 0.0, self.beats, self._prepares

    def _end(self, quiet_s: float) -> None:
        here = f"{self.phase}, at {self.where()}"
        self.end(f"nothing has moved for {quiet_s:g} s in {here}: another rank is gone or frozen")

    def end(self, why: str) -> None:
        """Ends this rank at once, with a line and a note for the batch script.

        Args:
            why: The words for what was seen.
        """
        complain(
            f"adabatch: rank {self.rank}: {why}; ends with {EXIT_CODE}; to go on: {advice('--resume auto')};"
            " to wait longer: ADABATCH_STALL_S=SECONDS"
        )
        if self.note is not None:
            with contextlib.suppress(OSError):
                self.note.touch()
        os._exit(EXIT_CODE)

    def where(self) -> str:
        """Returns the function and the line that the main thread stands at."""
        frame = sys._current_frames().get(self._main)
        if frame is None:
            return "a thread that has ended"
        code = frame.f_code
        return f"{code.co_name} ({Path(code.co_filename).name}:{frame.f_lineno})"
