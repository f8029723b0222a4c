"""Slurm's commands, called: sbatch, squeue, sacct, scontrol, scancel.

Variables SBATCH_*, SQUEUE_* and SACCT_* override scripts and flags without a word: they are taken out of the commands'
environment. So is what Slurm tells a shell inside an allocation (Jupyter, salloc, srun --pty): jobs would inherit it,
and srun in them would take that shell's cores and memory for its own options.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from ...environment import variables
from ..job import Job
from ..place import PlaceError
from . import answers
from .answers import COLUMNS, FIELDS, USED

PATIENCE_S = 120.0  # for a command; a busy slurmctld answers within its MessageTimeout, 10 to 100 s
_OVERRIDES = ("SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_")
_ALLOCATION = ("SLURM_", "SLURMD_", "PMI_", "PMIX_RANK", "PMIX_NAMESPACE", "PMIX_SERVER_")
_OF_THE_SITE = {"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"}
_UNSURE = re.compile(r"timed out|unable to contact|connection|zero bytes|transport|communication", re.IGNORECASE)


class SlurmError(PlaceError):
    """A command of Slurm's did not do what it was asked, said in one line.

    Attributes:
        unsure: True where the request may have arrived all the same.
    """

    def __init__(self, message: str, *, unsure: bool = False) -> None:
        super().__init__(message)
        self.unsure = unsure


class Slurm:
    """Slurm's commands as PATH has them.

    Args:
        directory: The folder that sbatch is called in, the job's SLURM_SUBMIT_DIR.
        patience_s: Seconds after which a command that does not answer is ended.
    """

    def __init__(self, directory: Path, patience_s: float = PATIENCE_S) -> None:
        self._directory, self._patience_s = directory, patience_s

    def submit(self, command: Sequence[str]) -> str:
        """Calls sbatch --parsable. Returns the job's number.

        Raises:
            SlurmError: The job was refused; unsure where it may be there all the same.
        """
        answer = self._run(command, self._directory)
        numbers = re.findall(r"^(\d+)(?:;\S*)?$", answer, re.MULTILINE)
        if not numbers:
            raise SlurmError(f"sbatch answered {_first_line(answer)!r}, and not a job's number", unsure=True)
        return str(numbers[-1])

    def test(self, command: Sequence[str]) -> str:
        """Calls sbatch --test-only. Returns what it said.

        Raises:
            SlurmError: Such a job would be refused.
        """
        return self._run(command, self._directory, with_errors=True)

    def queue(self) -> list[Job]:
        """Returns the user's jobs by squeue, those that ended in the last minutes too.

        Raises:
            SlurmError: The command squeue does not answer.
        """
        columns = ",".join(f"{name}:{width}" for name, width in COLUMNS.items())
        line = ["squeue", "--noheader", f"--user={os.getuid()}", "--states=all", f"--Format={columns}"]
        return answers.queue(self._run(line))

    def accounting(self, job_ids: Sequence[str] = (), names: Sequence[str] = (), since: str = "") -> list[Job] | None:
        """Returns jobs by sacct: by number, or by name since a day.

        None stands for a site that keeps no accounts, or whose accounts do not answer.
        """
        line = ["sacct", "--noheader", "--parsable2", "--duplicates", f"--format={','.join((*FIELDS, *USED))}"]
        line += [f"--jobs={','.join(job_ids)}"] if job_ids else [f"--name={','.join(names)}", f"--starttime={since}"]
        try:
            return answers.accounting(self._run(line))
        except SlurmError:
            return None

    def control(self, job_id: str) -> Job | None:
        """Returns a job by scontrol; None where Slurm has forgotten it."""
        try:
            return answers.control(self._run(["scontrol", "--oneliner", "show", "job", job_id]))
        except SlurmError:
            return None

    def script(self, job_id: str) -> str | None:
        """Returns the batch script of a job of one's own; None where there is none, as of salloc."""
        try:
            return self._run(["scontrol", "write", "batch_script", job_id, "-"]) or None  # it ends with 0 all the same
        except SlurmError:
            return None

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Calls scancel for these jobs.

        Raises:
            SlurmError: The command scancel failed.
        """
        self._run(["scancel", *job_ids])

    def wait(self, seconds: float) -> None:
        """Waits for so many seconds."""
        time.sleep(seconds)

    def _run(self, command: Sequence[str], directory: Path | None = None, *, with_errors: bool = False) -> str:
        environment, _ = clean_environment()
        name = command[0]
        if name != "sbatch":  # which would hand it on to the job
            environment["SLURM_TIME_FORMAT"] = "standard"
        try:
            done = subprocess.run(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._patience_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SlurmError(f"{name} did not answer within {self._patience_s:g} s", unsure=True) from error
        except OSError as error:
            raise SlurmError(f"{name}: {error.strerror} ({error.filename})") from error
        if done.returncode != 0:
            said = _first_line(done.stderr or done.stdout) or "nothing"
            unsure = done.returncode < 0 or _UNSURE.search(done.stderr) is not None
            raise SlurmError(f"{name} ended with {done.returncode} and said: {said}", unsure=unsure)
        return done.stdout + (done.stderr if with_errors else "")


def clean_environment() -> tuple[dict[str, str], list[str]]:
    """Returns the environment of Slurm's commands, and the names of the variables of sbatch that were taken out."""
    everything = variables()
    foreign = (*_OVERRIDES, *_ALLOCATION) if "SLURM_JOB_ID" in everything else _OVERRIDES
    kept = {name: value for name, value in everything.items() if not name.startswith(foreign) or name in _OF_THE_SITE}
    return kept, sorted(name for name in everything.keys() - kept.keys() if name.startswith(("SBATCH_", *_ALLOCATION)))


def _first_line(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return lines[0][:300] if lines else ""
