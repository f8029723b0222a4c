"""``adabatch watch RUN``: follows a run by its files alone, from any machine that sees them, until the run is over.

In a terminal a panel that is drawn anew; elsewhere a line for each change of the batch, evaluation and restart, and
one at least every half minute. When the run is over, the table of ``adabatch report``.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ...errors import DivergedError, InputError, reading
from ...records import check_format
from ...terminal import console as standard_output
from ...terminal import display
from ...training.signals import EXIT_CODES, START_AGAIN
from ..folder import RunFolder
from ..report.account import ALLOWED, Account, State, account
from ..report.words import in_time
from ..result import lines
from .journal_tail import JournalTail
from .panel import event, line, panel, title
from .position import Position
from .signs import Signs

LOOK_S = 1.0
LINE_S = 30.0
ASK_EVERY_S = 20.0  # for the owner of the folder, who gives a sign of life as often
EXAMPLE = "adabatch watch runs/NAME"


def watch(folder: Path, wait_s: float) -> int:
    """Follows a run until it is over. Returns the exit code that the run has, or would have, left.

    Args:
        folder: The folder of the run.
        wait_s: The seconds to wait for a run that is not there, or for one that has stopped to go on.

    Raises:
        InputError: There is no run, or its files cannot be read.
    """
    console = standard_output()
    watched = Watch(folder)
    try:
        _follow(watched, console, wait_s)
    except KeyboardInterrupt:
        display(f"{folder}: watched no longer; the run is as it was")
        return EXIT_CODES["SIGINT"]
    if watched.position is None:
        given = f"{folder}, in which there is no run"
        raise InputError("RUN", given, f"{ALLOWED}; one that is yet to start", f"{EXAMPLE} --wait_s 3600")
    run = account(folder)
    display(*lines([run]))
    return _exit_code(run)


def _follow(watched: Watch, console: Console, wait_s: float) -> None:
    alive_s = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else nullcontext() as live:
        while True:
            with reading("RUN", watched.folder, ALLOWED, EXAMPLE):
                told, drawn, is_over = watched.look(), watched.drawn(), watched.is_over()
            if live is not None:
                live.update(drawn, refresh=True)
            elif told:
                display(*told)
            if not is_over:
                alive_s = time.monotonic()
            elif watched.is_done or time.monotonic() - alive_s >= wait_s:
                return
            time.sleep(LOOK_S)


def _exit_code(run: Account) -> int:
    match run.state:
        case State.COMPLETE:
            return 0
        case State.DIVERGED:
            return DivergedError.exit_code
        case _:
            return EXIT_CODES.get(run.reason, START_AGAIN)


class Watch:
    """A run that is watched.

    Args:
        folder: The folder of the run, which need not be there yet.

    Attributes:
        position: The position of the run; None where there is none yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.position: Position | None = None
        self._paths = RunFolder(folder)
        self._tail = JournalTail(self._paths.journal)
        self._signs = Signs(self._paths.owner)
        self._told_s = self._news_s = self._asked_s = -math.inf  # a line told, a line read, an owner looked for

    def look(self) -> list[str]:
        """Reads what is new in the journal. Returns the lines that tell of it where there is no panel.

        Raises:
            InputError: A newer release has written the journal.
        """
        anew, records = self._tail.new()
        now, told = time.monotonic(), []
        if anew:
            self.position = None
        for record in records:
            if record["kind"] == "start":
                check_format(record, "RUN", self._paths.journal)
                self.position = Position(record)
            elif self.position is not None:
                self.position.take(record)
                if not anew and (said := event(self.position)):
                    told.append(said)
        if records:
            self._news_s = now
        if records and self.position is not None:
            if anew:
                told.append(title(self.position))
            if anew or (not told and now - self._told_s > LINE_S):
                told.append(line(self.position))
        self._told_s = now if told else self._told_s
        return told

    def is_over(self) -> bool:
        """Reports whether the run is over: its journal has an end, or no process owns the folder any more."""
        has_end = self.position is not None and self.position.is_over
        if has_end and self._paths.result.exists():
            return True
        now = time.monotonic()
        if not has_end and now - self._asked_s < ASK_EVERY_S:
            return False
        self._asked_s = now
        return not self._signs.is_owned()  # after its end a run still writes its files

    @property
    def is_done(self) -> bool:
        """Reports whether the run has come to an end after which it does not go on."""
        last = self.position.last if self.position is not None else {}
        return last.get("kind") == "end" and last["reason"] not in EXIT_CODES

    def drawn(self) -> RenderableType:
        """Returns the panel for a terminal."""
        if self.position is None:
            return Text(f"{self.folder}: waits for a run")
        silent = f"{in_time(time.monotonic() - self._news_s)} ago"
        return Group(Text(title(self.position)), panel(self.position, ("last news", silent)))
