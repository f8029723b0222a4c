"""The progress of a run for who watches: a panel in a terminal, plain lines in a log file; on rank 0 only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ..terminal import console as standard_output
from ..training.journal import Record
from .watch.panel import more, panel
from .watch.position import Position

SECONDS_BETWEEN_LINES = 30.0
SECONDS_BETWEEN_PANELS = 0.5  # drawn between steps, by no thread of its own: about 2 ms each


class ProgressDisplay:
    """A display of epochs and steps, silent on ranks that do not speak.

    Args:
        speaks: True on the rank that prints.
        console: The console to print to; the standard output when not given.
    """

    def __init__(self, speaks: bool, console: Console | None = None) -> None:
        self.speaks = speaks
        self.console = console or standard_output()
        self._position: Position | None = None
        self._live: Live | None = None
        self._title = ""
        self._total = self._done = 0
        self._shown_s = 0.0  # when a line was printed, or a panel drawn

    def line(self, text: str) -> None:
        """Prints one line, at once; a log that cannot be written ends no run."""
        if self.speaks:
            with suppress(OSError):
                self.console.print(text, markup=False)
                self.console.file.flush()

    def take(self, record: Record) -> None:
        """Takes note of a line of the journal; of one that cannot be used, which an earlier part has left, nothing."""
        try:
            if record["kind"] == "start":
                self._position = Position(record)
            elif self._position is not None:
                self._position.take(record)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            self._position = None

    @contextmanager
    def epoch(self, title: str, done: int, total: int) -> Iterator[None]:
        """Shows the samples of one epoch, of which ``done`` of ``total`` lie behind already."""
        self._title, self._done, self._total = title, done, total
        if not (self.speaks and self.console.is_terminal):
            self._shown_s = time.monotonic()
            yield
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def step(self, samples: int, loss: float, global_batch: int) -> None:
        """Takes note of a step of the epoch."""
        self._done += samples
        if not self.speaks:
            return
        wait_s = SECONDS_BETWEEN_LINES if self._live is None else SECONDS_BETWEEN_PANELS
        if time.monotonic() - self._shown_s < wait_s:
            return
        self._shown_s = time.monotonic()
        said = f"{self._title}: {100 * self._done // self._total} %  loss {loss:.4f}  batch {global_batch}"
        if self._live is None:
            self.line(f"{said}{more(self._position)}")
            return
        with suppress(OSError):
            now = Text(said)
            self._live.update(now if self._position is None else Group(now, panel(self._position)), refresh=True)
