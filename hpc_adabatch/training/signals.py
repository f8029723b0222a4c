"""Being asked to stop, and all ranks leaving at the same step.

A signal reaches each rank at its own moment, and a rank that leaves alone hangs the others. So a signal only sets a
flag; the flags ride in the sum of every step, and all ranks see the same total:

    SIGINT     Ctrl-C                                      the user        exit code 130
    SIGTERM    the job is cancelled or preempted           the scheduler   exit code 75: start me again
    SIGUSR2    --signal=USR2@120: the time is almost up    the scheduler   75
    stop file  the batch script's trap has made it         the scheduler   75
    nodes      rank 0: other nodes pay (run/follow.py)     the run         75

The file is for ranks that no signal reaches: Slurm tells the batch script, which mpirun and horovodrun did not start.
Rank 0 looks for it, once a second.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..errors import OneLineError

NODES = "nodes"
START_AGAIN = 75
EXIT_CODES = {"SIGINT": 130, **dict.fromkeys(("SIGTERM", "SIGUSR2", "stop file", NODES), START_AGAIN)}
_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR2")
_FILE = "stop file"
_NAMES = (*_SIGNALS, _FILE, NODES)
WAYS = len(_NAMES)  # of being told to stop, each a number of the sum
LOOK_EVERY_S = 1.0  # a shared file system answers in milliseconds, a step may be shorter


class StopFlag:
    """A flag that a signal or a stop file sets on this rank.

    Args:
        file: The stop file, which counts as a signal once it exists; None where there is none to look for.

    Attributes:
        file: The stop file.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._heard: set[str] = set()
        self.file = file
        self._looked_s = float("-inf")

    def ask_for_nodes(self) -> None:
        """Asks all ranks to leave in the next step, to go on on other nodes; rank 0's to say."""
        self._heard.add(NODES)

    def numbers(self) -> list[float]:
        """Returns a number for each way of being told to stop, to be summed over ranks."""
        self._look()
        return [float(name in self._heard) for name in _NAMES]

    def agreed(self, summed: list[float]) -> str | None:
        """Returns the name of what any rank has heard, from the summed numbers, so that all ranks agree; else None."""
        return next((name for name, total in zip(_NAMES, summed, strict=True) if total > 0), None)

    def _look(self) -> None:
        if self.file is not None and time.monotonic() - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = time.monotonic()
            if self.file.exists():
                self._heard.add(_FILE)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if name == "SIGINT" and name in self._heard:  # asked twice: the user means now
            raise KeyboardInterrupt
        self._heard.add(name)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listens to signals within the block, and gives them back to their handlers afterwards."""
        before = {name: signal.signal(signal.Signals[name], self._hear) for name in _SIGNALS}
        try:
            yield
        except OneLineError as error:
            error.told = "SIGTERM" in self._heard
            raise
        finally:
            for name, handler in before.items():
                signal.signal(signal.Signals[name], handler)
