"""A cell's job as its place knows it, and what the output of a job tells of its end."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .state import State

# What slurmd, srun and the programs say. A step is cancelled too when its job ends otherwise: only the job's counts.
_CUES = (
    ("OOM", r"oom[-_ ]kill|out of memory|outofmemoryerror|can't allocate memory|std::bad_alloc|\bMemoryError\b"),
    ("TIMEOUT", r"CANCELLED AT \S+ DUE TO TIME LIMIT"),
    ("PREEMPTED", r"CANCELLED AT \S+ DUE TO PREEMPTION"),
    ("NODE_FAIL", r"DUE TO NODE FAILURE"),
    ("CANCELLED", r"\*\*\* JOB \d+ ON \S+ CANCELLED AT \S+ \*\*\*"),
    ("FAILED", r"adabatch: error"),
)
_CUE = re.compile("|".join(f"(?P<{state}>{cue})" for state, cue in _CUES), re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as a scheduler knows it. Times are in seconds since 1970."""

    job_id: str
    """The job's number."""
    name: str = ""
    """The job's name; empty where it is not told."""
    state: State
    """OK of a job that ended with 0, which alone says little; LOST where the scheduler's word is not known here."""
    told: str
    """The scheduler's word for the state, with its reason."""
    nodes: int | None = None
    """The node count of the job; None where it is not told."""
    restarts: int = 0
    """The number of times that the scheduler has started the job again."""
    submitted_s: float | None = None
    """The time of the submission; None where it is not told."""
    began_s: float | None = None
    """The time of the last start; None where it is not told."""
    ended_s: float | None = None
    """The time of the end; None while the job has not ended."""
    used_s: float | None = None
    """Seconds that all starts of the job ran; None where they are not told."""
    energy_j: float | None = None
    """Joules that all starts of the job used on its nodes; None where the site does not measure them."""
    gpu_percent: float | None = None
    """Percent of the time that a GPU was busy in the job's longest step; None where the site does not measure it."""


def last_cue(log: str) -> tuple[State, str] | None:
    """Returns the state that the last telling line of a job's output speaks of, and that line; None without any."""
    for line in reversed(log.splitlines()):
        if found := _CUE.search(line):
            return State(found.lastgroup), " ".join(line.split())[:200]
    return None
