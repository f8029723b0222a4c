"""The progress of a run for the person who watches: a bar in a terminal, plain lines in a log file; on rank 0 only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..terminal import console as standard_output

SECONDS_BETWEEN_LINES = 30.0


class ProgressDisplay:
    """A display of epochs and steps, silent on ranks that do not speak.

    Args:
        speaks: True on the rank that prints.
        console: The console to print to; the standard output when not given.
    """

    def __init__(self, speaks: bool, console: Console | None = None) -> None:
        self.speaks = speaks
        self.console = console or standard_output()
        self._bar: Progress | None = None
        self._title = ""
        self._total = self._done = 0
        self._line_s = 0.0

    def line(self, text: str) -> None:
        """Prints one line, at once; a log that cannot be written ends no run."""
        if self.speaks:
            with suppress(OSError):
                self.console.print(text, markup=False)
                self.console.file.flush()

    @contextmanager
    def epoch(self, title: str, done: int, total: int) -> Iterator[None]:
        """Shows the samples of one epoch, of which ``done`` of ``total`` lie behind already."""
        self._title, self._done, self._total = title, done, total
        self._line_s = time.monotonic()
        if not (self.speaks and self.console.is_terminal):
            yield
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as self._bar:
            self._bar.add_task(title, total=total, completed=done, text="")
            yield
        self._bar = None

    def step(self, samples: int, loss: float, global_batch: int) -> None:
        """Takes note of a step of the epoch."""
        self._done += samples
        if not self.speaks:
            return
        text = f"loss {loss:.4f}  batch {global_batch}"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done, text=text)
        elif time.monotonic() - self._line_s > SECONDS_BETWEEN_LINES:
            self._line_s = time.monotonic()
            self.line(f"{self._title}: {100 * self._done // self._total} %  {text}")
