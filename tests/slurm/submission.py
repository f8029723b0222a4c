"""What a user of the cluster does: submit, look, wait.

Not here: the cluster itself, and what each kind of end looks like (cluster.py).
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

ENDED = frozenset(
    ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE")
)
FIELD = re.compile(r"(?:^ *| )([A-Z][\w/:]*)=(.*?)(?= [A-Z][\w/:]*=|$)", re.MULTILINE)


class Slurm:
    """The commands of the cluster that `environment` (SLURM_CONF) names; `folder` is where they run by default."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment

    def run(
        self, *command: object, code: int | None = 0, timeout_s: float = 120, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command on the machine itself, the login node as it were; it must return `code`, None: whatever."""
        line = [str(word) for word in command]
        done = subprocess.run(
            line,
            env=self.environment,
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert code is None or done.returncode == code, f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def sbatch(self, *arguments: object, cwd: Path | None = None) -> int:
        """The job's number; its output is slurm-NUMBER.out in cwd unless the arguments say otherwise."""
        return int(self.run("sbatch", "--parsable", *arguments, cwd=cwd).stdout.split(";")[0])

    def job(self, job_id: int) -> dict[str, str]:
        """The fields of scontrol show job: JobState, Reason, ExitCode, Restarts, NodeList, StdOut, ..."""
        return dict(FIELD.findall(self.run("scontrol", "show", "job", job_id).stdout))

    def output(self, job_id: int) -> str:
        """What the job has printed so far."""
        path = Path(self.job(job_id)["StdOut"])
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def wait(self, job_id: int, states: str | Collection[str] = ENDED, timeout_s: float = 60) -> dict[str, str]:
        """The job's fields when it is in one of the states.

        Raises:
            AssertionError: it has been in another final state for 3 s.
            TimeoutError: it never came to one; with its fields, its output and the daemons' logs.
        """
        wanted = {states} if isinstance(states, str) else set(states)
        begun = elsewhere = time.monotonic()
        while (job := self.job(job_id))["JobState"] not in wanted:
            now = time.monotonic()
            if job["JobState"] not in ENDED:  # on its way back to the queue a job shows its end for a moment
                elsewhere = now
            story = f"job {job_id} is {job['JobState']}, not {sorted(wanted)}: {job}\n{self.output(job_id)}"
            assert now - elsewhere < 3, story
            if now - begun > timeout_s:
                raise TimeoutError(f"{story}\n{self.logs()}")
            time.sleep(0.3)
        return job

    def until_it_says(self, job_id: int, word: str, timeout_s: float = 60) -> None:
        """Returns when the word is in the job's output: RUNNING only means that Slurm has begun to start it."""
        deadline = time.monotonic() + timeout_s
        while word not in self.output(job_id):
            assert time.monotonic() < deadline, f"{self.job(job_id)}\n{self.output(job_id)}"
            time.sleep(0.3)

    def hurry(self, job_id: int) -> None:
        """A requeued job, once its processes are gone, waits no longer for its BeginTime.

        One second all the same: a node tells the credential of the second start from the first's by whole seconds.
        """
        while (job := self.job(job_id))["Reason"] != "BeginTime":
            assert job["JobState"] in ("PENDING", "COMPLETING"), job
            time.sleep(0.1)
        self.run("scontrol", "update", f"JobId={job_id}", "StartTime=now+1")

    def expire(self, job_id: int) -> None:
        """The job's time limit is now; Slurm looks every 30 s."""
        self.run("scontrol", "update", f"JobId={job_id}", "EndTime=now")

    def logs(self, n_lines: int = 40) -> str:
        """The ends of the daemons' logs."""
        ends = []
        for path in sorted((self.folder / "log").glob("*")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            ends += [f"--- {path.name}", *lines[-n_lines:]] if lines else []
        return "\n".join(ends)
