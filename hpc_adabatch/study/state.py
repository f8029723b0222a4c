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
    """Its job waits in the queue."""
    RUNNING = "RUNNING"
    """Its job runs."""
    OK = "OK"
    """Its result is complete."""
    FAILED = "FAILED"
    """Its job ended, and there is no result."""
    TIMEOUT = "TIMEOUT"
    """Its job reached the time limit."""
    OOM = "OOM"
    """Its job ran out of memory."""
    NODE_FAIL = "NODE_FAIL"
    """A node of its job failed."""
    PREEMPTED = "PREEMPTED"
    """Its job gave way to another."""
    CANCELLED = "CANCELLED"
    """Its job was cancelled."""
    LOST = "LOST"
    """Nobody knows its job any more."""
    STALLED = "STALLED"
    """Its job runs, and no file of it has moved for a while."""

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
