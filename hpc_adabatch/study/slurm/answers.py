"""Jobs, read from what Slurm's commands print.

squeue --Format=...   columns of fixed width: a name may hold any character
sacct --parsable2     fields with | between
scontrol -o           KEY=VALUE with spaces between
slurm-JOBID.out       what slurmd writes there when it ends a job
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from ..job import Job, last_cue
from ..state import State

# Columns of squeue, and how wide each is.
COLUMNS = {
    "JobID": 20,
    "State": 24,
    "RestartCnt": 12,
    "Reason": 64,
    "SubmitTime": 24,
    "StartTime": 24,
    "EndTime": 24,
    "NumNodes": 12,
    "Name": 260,
}
FIELDS = ("JobID", "JobName", "State", "Submit", "Start", "End", "ElapsedRaw", "ExitCode", "NNodes")  # of sacct
USED = ("ConsumedEnergyRaw", "TRESUsageInAve")  # of sacct too; sites that do not measure them leave them empty
_NO_ENERGY_J = 2**62  # from here on it is one of Slurm's numbers for "no value"
_STATES = {
    "PENDING": "PENDING CONFIGURING REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT",
    "RUNNING": "RUNNING COMPLETING RESIZING SIGNALING STAGE_OUT STOPPED SUSPENDED",
    "OK": "COMPLETED",
    "FAILED": "FAILED LAUNCH_FAILED RECONFIG_FAIL",
    "TIMEOUT": "TIMEOUT DEADLINE",
    "OOM": "OUT_OF_MEMORY",
    "NODE_FAIL": "NODE_FAIL BOOT_FAIL",
    "PREEMPTED": "PREEMPTED",
    "CANCELLED": "CANCELLED REVOKED",
}
_OURS = {theirs: State(ours) for ours, names in _STATES.items() for theirs in names.split()}


def state_of(told: str) -> State:
    """Returns the state of Slurm's word: "CANCELLED by 1000" and "NODE_FAIL+" are CANCELLED and NODE_FAIL."""
    return _OURS.get(told.split()[0].rstrip("+") if told.split() else "", State.LOST)


def seconds(text: str) -> float | None:
    """Returns the seconds since 1970 of a local time such as 2024-11-21T14:35:00; None of Unknown and N/A."""
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        return None


def _nodes(text: str) -> int | None:
    """Returns the node count of 4, and of 2-4 the least, as Slurm says of a job that waits for from 2 to 4."""
    found = re.match(r"[1-9][0-9]*", text)
    return int(found[0]) if found is not None else None


def _told(state: str, reason: str) -> str:
    """Returns Slurm's word with its reason; without that of a cancelled job, which is what it waited for before."""
    useful = reason not in ("", "None", "N/A") and state_of(state) is not State.CANCELLED
    return f"{state} ({reason})" if useful else state


def queue(text: str) -> list[Job]:
    """Returns the jobs of ``squeue --noheader --Format=...``."""
    jobs = []
    for line in text.splitlines():
        fields, start = {}, 0
        for name, width in COLUMNS.items():
            fields[name] = line[start : start + width].strip()
            start += width
        if not fields["JobID"].isdigit():
            continue
        restarts = fields["RestartCnt"]
        job = Job(
            job_id=fields["JobID"],
            name=fields["Name"],
            state=state_of(fields["State"]),
            told=_told(fields["State"], fields["Reason"]),
            nodes=_nodes(fields["NumNodes"]),
            restarts=int(restarts) if restarts.isdigit() else 0,
            submitted_s=seconds(fields["SubmitTime"]),
            began_s=seconds(fields["StartTime"]),
            ended_s=seconds(fields["EndTime"]),
        )
        jobs.append(job)
    return jobs


def accounting(text: str) -> list[Job]:
    """Returns the jobs of ``sacct --parsable2 --duplicates``, each once, with what all its starts used.

    Steps, where the text has them, tell how busy the GPUs were; of several the longest counts.
    """
    jobs: dict[str, Job] = {}
    steps: dict[str, tuple[float, float]] = {}
    for line in text.splitlines():
        parts = line.split("|")
        fields = dict(zip((*FIELDS, *USED), parts, strict=False))
        if len(parts) < len(FIELDS):
            continue
        used_s = float(fields["ElapsedRaw"]) if fields["ElapsedRaw"].isdigit() else 0.0
        if step := re.fullmatch(r"(\d+)\.\d+", fields["JobID"]):
            if busy := re.search(r"gres/gpuutil=(\d+(?:\.\d+)?)", fields.get("TRESUsageInAve", "")):
                steps[step[1]] = max(steps.get(step[1], (0.0, 0.0)), (used_s, float(busy[1])))
            continue
        if not fields["JobID"].isdigit():
            continue
        before = jobs.get(fields["JobID"])
        job = Job(
            job_id=fields["JobID"],
            name=fields["JobName"],
            state=state_of(fields["State"]),
            told=_told(fields["State"], "" if fields["ExitCode"] in ("0:0", "") else f"exit code {fields['ExitCode']}"),
            nodes=_nodes(fields["NNodes"]),
            restarts=0 if before is None else before.restarts + 1,
            submitted_s=seconds(fields["Submit"]),
            began_s=seconds(fields["Start"]),
            ended_s=seconds(fields["End"]),
            used_s=used_s + (before.used_s or 0.0 if before is not None else 0.0),
            energy_j=_sum(_energy_j(fields.get("ConsumedEnergyRaw", "")), before.energy_j if before else None),
        )
        jobs[job.job_id] = job
    return [replace(job, gpu_percent=steps[job.job_id][1]) if job.job_id in steps else job for job in jobs.values()]


def _energy_j(text: str) -> float | None:
    joules = int(text) if text.isdigit() else 0
    return float(joules) if 0 < joules < _NO_ENERGY_J else None


def _sum(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else one + other


def control(text: str) -> Job | None:
    """Returns the job of ``scontrol --oneliner show job``; None where the text names none."""
    fields: dict[str, str] = {}
    for name, value in re.findall(r"(?:^|\s)(\w+)=(\S*)", text):
        fields.setdefault(name, value)
    if not fields.get("JobId", "").isdigit():
        return None
    state = fields.get("JobState", "")
    restarts = fields.get("Restarts", "0")
    return Job(
        job_id=fields["JobId"],
        name=fields.get("JobName", ""),
        state=state_of(state),
        told=_told(state, fields.get("Reason", "")),
        nodes=_nodes(fields.get("NumNodes", "")),
        restarts=int(restarts) if restarts.isdigit() else 0,
        submitted_s=seconds(fields.get("SubmitTime", "")),
        began_s=seconds(fields.get("StartTime", "")),
        ended_s=seconds(fields.get("EndTime", "")),
    )


def with_log(job: Job, log: Iterable[str]) -> Job:
    """Returns the job as its output knows it: some versions of Slurm call a job that ran out of memory just FAILED."""
    cue = last_cue("\n".join(log)) if job.state is State.FAILED else None
    if cue is None:
        return job
    return replace(job, state=cue[0] if cue[0] is State.OOM else job.state, told=f"{job.told}: {cue[1]}")
