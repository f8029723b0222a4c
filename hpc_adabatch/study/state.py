"""The states of a cell."""

from __future__ import annotations

from enum import Enum


class State(str, Enum):
    """A state of a cell; its value is the word that users read, and that files hold.

    PLANNED -> PENDING -> RUNNING -> OK, FAILED, TIMEOUT, OOM, NODE_FAIL, PREEMPTED, CANCELLED, LOST
                             <-> STALLED
    """

    PLANNED = "PLANNED"
    """The cell has no job."""
    PENDING = "PENDING"
    """The cell's job waits in the queue."""
    RUNNING = "RUNNING"
    """The cell's job runs."""
    OK = "OK"
    """The cell's result is complete."""
    FAILED = "FAILED"
    """The cell's job ended, and there is no result."""
    TIMEOUT = "TIMEOUT"
    """The cell's job reached the time limit."""
    OOM = "OOM"
    """The cell's job ran out of memory."""
    NODE_FAIL = "NODE_FAIL"
    """A node of the cell's job failed."""
    PREEMPTED = "PREEMPTED"
    """The cell's job gave way to another."""
    CANCELLED = "CANCELLED"
    """The cell's job was cancelled."""
    LOST = "LOST"
    """Nobody knows the cell's job any more."""
    STALLED = "STALLED"
    """The cell's job runs, and none of its files has changed for a while."""

    def __str__(self) -> str:
        return str(self.value)

    @classmethod
    def of(cls, word: str) -> State:
        """Returns the state of this name; LOST for a word that names none."""
        return cls.__members__.get(word, cls.LOST)

    @property
    def waits(self) -> bool:
        """Reports whether the result is still to come, and nothing is wrong so far."""
        return self in (State.PLANNED, State.PENDING, State.RUNNING)

    @property
    def active(self) -> bool:
        """Reports whether there is a job that has not ended."""
        return self in (State.PENDING, State.RUNNING, State.STALLED)

    @property
    def over(self) -> bool:
        """Reports whether there was a job, and it has ended."""
        return not self.active and self is not State.PLANNED

    @property
    def can_be_retried(self) -> bool:
        """Reports whether the job ended without a result, so that --retry may name the state."""
        return self.over and self is not State.OK
