"""Being asked to stop, and all ranks leaving at the same step.

A signal reaches each rank at its own moment, and a rank that leaves alone hangs the others. So a signal only sets a
flag; the flags ride in the sum of every step, and all ranks see the same total:

    SIGINT  (Ctrl-C)                 the user        exit code 130
    SIGTERM                          the scheduler   exit code 75: start me again

Not here: what is saved on the way out (run.py).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 75}
_NAMES = tuple(EXIT_CODES)


class StopFlag:
    """Which signals this rank has heard."""

    def __init__(self) -> None:
        self._heard: set[str] = set()

    def numbers(self) -> list[float]:
        """One number a signal, to be summed over ranks."""
        return [float(name in self._heard) for name in _NAMES]

    def agreed(self, summed: list[float]) -> str | None:
        """The signal that any rank has heard, from the summed numbers; the same on every rank."""
        return next((name for name, total in zip(_NAMES, summed, strict=True) if total > 0), None)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if name in self._heard:  # asked twice: the user means now
            raise KeyboardInterrupt
        self._heard.add(name)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hears signals within the block."""
        before = {name: signal.signal(signal.Signals[name], self._hear) for name in _NAMES}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(signal.Signals[name], handler)
