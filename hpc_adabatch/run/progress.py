"""What a person sees of a run: a bar in a terminal, plain lines in a log file; on rank 0 only.

Not here: what tools read (journal.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 30.0
WIDTH = 110  # of tables in log files


class Display:
    """Rank 0's voice; silent on the others.

    Args:
        speaks: whether this rank prints.
        console: where; the standard output when not given.
    """

    def __init__(self, speaks: bool, console: Console | None = None) -> None:
        self.speaks = speaks
        # mpirun gives each rank a terminal as standard output, whatever its own output is, but not as standard error
        terminal = sys.stdout.isatty() and sys.stderr.isatty()
        self.console = console or Console(soft_wrap=True, highlight=False, force_terminal=terminal, file=sys.stdout)
        if console is None and not terminal:
            self.console.width = WIDTH
        self._bar: Progress | None = None
        self._title = ""
        self._total = self._done = 0
        self._line_s = self._started_s = 0.0

    def line(self, text: str) -> None:
        """One line, at once."""
        if self.speaks:
            self.console.print(text, markup=False)
            self.console.file.flush()

    @contextmanager
    def epoch(self, title: str, done: int, total: int) -> Iterator[None]:
        """Shows the samples of one epoch; ``done`` of ``total`` lie behind already."""
        self._title, self._done, self._total = title, done, total
        self._line_s = self._started_s = time.monotonic()
        if not (self.speaks and self.console.is_terminal):
            yield
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as self._bar:
            self._bar.add_task(title, total=total, completed=done, text="")
            yield
        self._bar = None

    def step(self, samples: int, loss: float, global_batch: int) -> None:
        """One step of the epoch is done."""
        self._done += samples
        if not self.speaks:
            return
        text = f"loss {loss:.4f}  batch {global_batch}"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done, text=text)
        elif time.monotonic() - self._line_s > SECONDS_BETWEEN_LINES:
            self._line_s = time.monotonic()
            self.line(f"{self._title}: {100 * self._done // self._total} %  {text}")
