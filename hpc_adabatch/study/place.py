"""The interface of a study's place: Slurm's queue (slurm/queue.py) or this machine (local.py)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..errors import require
from .cells import Cell
from .flags import STALL_S, GridFlags
from .folder import StudyFolder
from .job import Job
from .spec import Study
from .state import State
from .status import CellStatus, States

Say = Callable[[str], None]
"""Prints one line."""


class PlaceError(Exception):
    """A place did not do what it was asked, said in one line."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The terms of a study at a place, from the flags of ``plan``."""

    template: str
    """The path of the batch script; empty where there is none."""
    launcher: str
    """The program that starts the ranks."""
    asked: dict[str, str]
    """The requests of a job, by the long name of sbatch's flag."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """The cells that ``submit`` may start, and how."""

    cells: Sequence[Cell]
    """The cells that may be started."""
    retry: tuple[State, ...] = ()
    """States of ended jobs whose cells are started again."""
    chain: bool = False
    """True where each job waits for the end of the one before."""


class Place(ABC):
    """The place of one study's jobs.

    Args:
        study: The plan.
        folder: The study's files.

    Attributes:
        one_machine: True where the ranks of all nodes share one machine.
    """

    one_machine: ClassVar[bool] = False

    def __init__(self, study: Study, folder: StudyFolder) -> None:
        self.study, self.folder = study, folder

    @staticmethod
    @abstractmethod
    def terms(flags: GridFlags, words: tuple[str, ...], directory: Path) -> Terms:
        """Returns the terms that the flags of ``plan`` come to here.

        Args:
            flags: The flags.
            words: The further flags of sbatch.
            directory: The folder that jobs will start in.

        Raises:
            InputError: A flag that cannot be used here.
        """

    @property
    @abstractmethod
    def title(self) -> str:
        """Returns the place in words, for a report."""

    @abstractmethod
    def look(self, stall_s: float = STALL_S) -> States:
        """Returns where all cells stand, and writes down what would soon be forgotten.

        Args:
            stall_s: Seconds without a change, after which a running cell counts as stalled.
        """

    @abstractmethod
    def lines(self, order: Order) -> Iterator[str]:
        """Yields lines for a shell that do what ``submit`` would.

        Raises:
            InputError: An order that cannot be followed here.
        """

    @abstractmethod
    def test(self, order: Order) -> Iterator[tuple[bool, str]]:
        """Yields for each cell that would be started whether it would be taken, and what was said.

        Raises:
            InputError: This place cannot test jobs.
        """

    @abstractmethod
    def submit(self, order: Order, say: Say) -> int:
        """Starts the cells that are to be started, each once. Returns the exit code.

        Raises:
            InputError: Another submit is running, the folder cannot be written, or the order cannot be followed here.
            PlaceError: The place refused, or does not answer. What was started stays.
        """

    @abstractmethod
    def cancel(self, cells: Sequence[Cell]) -> list[CellStatus]:
        """Ends the jobs of these cells that wait or run. Returns their states before.

        Raises:
            InputError: This place cannot cancel jobs, or a submit is running.
            PlaceError: The place refused, or does not answer.
        """

    @abstractmethod
    def accounts(self, states: States) -> Mapping[str, Job]:
        """Returns the jobs of all attempts whose hours are known, by number."""


def parse_retry(text: str) -> tuple[State, ...]:
    """Returns the states of ``--retry timeout,oom``.

    Raises:
        InputError: A word that names none of the states that can be retried.
    """
    allowed = {state.lower(): state for state in State if state.can_be_retried}
    words = [part.strip().lower() for part in text.split(",")] if text.strip() else []
    for word in words:
        require(word in allowed, "retry", word, ", ".join(allowed), "--retry timeout,oom")
    return tuple(allowed[word] for word in words)
