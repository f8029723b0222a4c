"""Time left, signal before the end, restarts of the batch job that this process is in.

The signal stands in the batch script alone: scontrol does not show it, and flags given to sbatch win over the script.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from .. import environment
from ..study.job import Job
from ..study.placement import directives
from ..study.places import enclosing_job
from .check import Check

SIGNAL = "#SBATCH --signal=B:USR2@120"
OTHERS = {"PBS_JOBID": "PBS", "LSB_JOBID": "LSF", "FLUX_JOB_ID": "Flux"}


def job() -> Iterator[Check]:
    """Yields what the scheduler will do with this job; nothing is asked outside of one."""
    number = environment.slurm_job()[0]
    if number is not None:
        known, script = enclosing_job(number)
        end_s = known.ended_s if known is not None else environment.job_end_s()
        yield time_left(number, known, end_s, time.time())
        yield signal(script, environment.stop_file() is not None)
        return
    variables = environment.variables()
    for name, scheduler in OTHERS.items():
        if name in variables:
            yield Check("time left", f"not known: {scheduler}'s job {variables[name]} is not asked")
            return
    yield Check("time left", "no job of a scheduler: no limit")


def time_left(number: str, known: Job | None, end_s: float | None, now_s: float) -> Check:
    """Returns the time until Slurm ends the job.

    Args:
        number: The job's number.
        known: The job as scontrol knows it; None where it does not answer.
        end_s: The end, in seconds since 1970; None where it is not known, or there is none.
        now_s: The time now, in seconds since 1970.
    """
    restarts = "" if known is None else f", start {known.restarts + 1}"
    if end_s is not None:
        return Check("time left", f"{_duration(end_s - now_s)} of job {number}{restarts}")
    reason = "not known: scontrol does not answer" if known is None else "no limit"
    return Check("time left", f"{reason} of job {number}{restarts}")


def signal(script: str | None, passed_on: bool) -> Check:
    """Returns what tells the ranks before the end.

    Args:
        script: The batch script; None where there is none.
        passed_on: True where launch/run or launch/job has made a stop file known to the ranks.
    """
    if script is None:
        return Check("signal", "no batch script: Ctrl-C to launch/run asks for a checkpoint; the time limit kills")
    asked = directives(script).get("signal", "")
    if not asked:
        said = "none before the end in the script (a flag of sbatch's own is not seen here)"
        return Check("signal", f"{said}: the last checkpoint is what remains", SIGNAL)
    batch = "B" in asked.partition(":")[0] if ":" in asked else False
    name, _, seconds = asked.rpartition(":")[2].partition("@")
    when = f"{seconds or 60} s before the end"
    if batch and not passed_on:
        mend = 'exec "$ADABATCH_HOME/launch/job" "$@" as the last line of the script'
        return Check("signal", f"{name} to the batch script {when}, which hands no stop file on", mend)
    return Check("signal", f"{name} to the {'batch script' if batch else 'ranks'} {when}")


def _duration(seconds: float) -> str:
    minutes = max(0, int(seconds // 60))
    days, hours = minutes // 1440, minutes // 60 % 24
    return f"{days} d {hours} h {minutes % 60} min" if days else f"{hours} h {minutes % 60} min"
