"""No order of crashes and refusals, of submit and of sbatch, submits a cell twice or loses one."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from hpc_adabatch.study import submissions
from hpc_adabatch.study.cells import Cell
from hpc_adabatch.study.job import Job
from hpc_adabatch.study.slurm.commands import Slurm, SlurmError
from hpc_adabatch.study.slurm.submit import submit
from hpc_adabatch.study.state import State

sys.path.insert(0, str(Path(__file__).parent / "fakes"))
from planned import cells, planned

pytestmark = pytest.mark.long


class Crash(BaseException):
    """The process is gone."""


class MemorySlurm(Slurm):
    """Takes jobs, and may crash, refuse, or be slow to take them: one event a call of sbatch.

    ok, refuse, crash before the request is sent, crash after the job is there, crash while the request is on its way
    (the job is there only after a while), an error although the job is there, an error and the job comes later.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.jobs: list[Job] = []
        self.on_its_way: list[Job] = []
        self.events: list[str] = []

    def submit(self, command: Sequence[str]) -> str:
        event = self.events.pop(0) if self.events else "ok"
        if event == "crash before":
            raise Crash
        if event == "refuse":
            raise SlurmError("sbatch: no")
        name = next(word.partition("=")[2] for word in command if word.startswith("--job-name="))
        number = str(1 + len(self.jobs) + len(self.on_its_way))
        job = Job(job_id=number, name=name, state=State.PENDING, told="PENDING")
        (self.on_its_way if "late" in event else self.jobs).append(job)
        if event.startswith("crash"):
            raise Crash
        if event.startswith("error"):
            raise SlurmError("sbatch: Socket timed out", unsure=True)
        return number

    def queue(self) -> list[Job]:
        return list(self.jobs)

    def accounting(self, job_ids: Sequence[str] = (), names: Sequence[str] = (), since: str = "") -> None:
        return None

    def control(self, job_id: str) -> None:
        return None

    def wait(self, seconds: float) -> None:
        """What is on its way arrives, and a crash's time is over."""
        self.jobs += self.on_its_way
        self.on_its_way.clear()
        raise TimeoutError


EVENTS = ("ok", "refuse", "crash before", "crash after", "crash late", "error after", "error late")


@settings(max_examples=150)
@given(some.lists(some.tuples(some.lists(some.sampled_from(EVENTS), max_size=5), some.booleans()), max_size=5))
def test_no_order_of_crashes_and_refusals_submits_a_cell_twice(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[tuple[list[str], bool]]
) -> None:
    """Each round is a submit with events; then a last one without any, which must find all cells submitted once."""
    folder_of_tests = tmp_path_factory.mktemp("any")
    study, folder = planned(folder_of_tests, cells((1, 2), 2))
    slurm = MemorySlurm(folder_of_tests)

    def attempt(chosen: Sequence[Cell]) -> bool:
        try:
            submit(study, folder, slurm, chosen, say=lambda _: None)
        except (Crash, SlurmError):
            return False
        except TimeoutError:  # it waited: let the time that it waits for be over
            lines = folder.submissions.read_text().replace(time.strftime("%Y-%m-%dT"), "2020-01-01T")
            folder.submissions.write_text(lines)
            return attempt(chosen)
        return True

    for events, half in rounds:
        slurm.events = list(events)
        attempt(study.cells[:2] if half else study.cells)
    slurm.events = []
    assert attempt(study.cells)
    there = Counter(job.name.split(":")[2] for job in (*slurm.jobs, *slurm.on_its_way))
    assert there == Counter(cell.name for cell in study.cells)
    recorded = submissions.read(folder)
    assert {attempts[-1].job_id for attempts in recorded.values()} == {job.job_id for job in slurm.jobs}
