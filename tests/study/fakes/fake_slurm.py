"""A Slurm of files, for what is hard to make happen with a real one. Executables of its commands lie beside this.

FAKE_SLURM/jobs/81001.json    a job: its call, its state, and which commands still know it
FAKE_SLURM/calls.jsonl        every call
FAKE_SLURM/rules.json         what goes wrong: {"sbatch": {"refuse_at": 3}, "squeue": {"down": true}, ...}

rules of sbatch, by the number of the call from 1     refuse_at, time_out_at (refuses, and takes the job all the same),
hang_at, odd_at (an answer without a number), kill_at (takes the job and kills its caller), kill_before_at
of squeue: down, of sacct: accounts (false: the site keeps none), of scancel: refuse

Tests start these commands hundreds of times: they import little, not even pathlib.
"""
# ruff: noqa: PTH103, PTH109, PTH123, PTH208

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

FIRST = 81001


class FakeSlurm:
    """The files, for the commands and for tests."""

    def __init__(self, root: Path | str) -> None:
        self.root = str(root)
        os.makedirs(f"{root}/jobs", exist_ok=True)

    def rule(self, command: str, **rules: Any) -> None:
        """Replaces what goes wrong with a command."""
        kept = self._rules()
        with open(f"{self.root}/rules.json", "w", encoding="utf-8") as file:
            json.dump(kept | {command: rules}, file)

    def rules(self, command: str) -> dict[str, Any]:
        return self._rules().get(command, {})

    def _rules(self) -> dict[str, dict[str, Any]]:
        return json.loads(read(f"{self.root}/rules.json") or "{}")

    def note(self, command: str) -> int:
        """Writes the call down. Its number among those of this command."""
        forbidden = ("SBATCH_", "SQUEUE_", "SLURM_JOB", "SLURM_CPU", "SLURM_MEM", "PMI_")
        variables = {name: value for name, value in os.environ.items() if name.startswith(forbidden)}
        call = {"command": command, "arguments": sys.argv[1:], "cwd": os.getcwd(), "variables": variables}
        with open(f"{self.root}/calls.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(call) + "\n")
        return len(self.calls(command))

    def calls(self, command: str) -> list[dict[str, Any]]:
        lines = read(f"{self.root}/calls.jsonl").splitlines()
        return [call for call in map(json.loads, lines) if call["command"] == command]

    def jobs(self) -> list[dict[str, Any]]:
        folder = f"{self.root}/jobs"
        return [json.loads(read(f"{folder}/{name}")) for name in sorted(os.listdir(folder))]

    def add(self, arguments: list[str]) -> int:
        """A new job, from sbatch's arguments."""
        number = FIRST
        while True:
            try:
                with open(f"{self.root}/jobs/{number}.json", "x", encoding="utf-8") as file:
                    json.dump(self._new(number, arguments), file)
                return number
            except FileExistsError:
                number += 1

    def _new(self, number: int, arguments: list[str]) -> dict[str, Any]:
        name = next((word.partition("=")[2] for word in arguments if word.startswith("--job-name=")), "")
        nodes = next((word.partition("=")[2] for word in arguments if word.startswith("--nodes=")), "1")
        now = time.strftime("%Y-%m-%dT%H:%M:%S")
        return {
            "id": str(number),
            "name": name,
            "arguments": arguments,
            "state": "PENDING",
            "reason": "Priority",
            "nodes": nodes,
            "restarts": 0,
            "submit": now,
            "start": "N/A",
            "end": "N/A",
            "elapsed": 0,
            "known": ["squeue", "sacct", "scontrol"],
        }

    def change(self, number: object, **fields: Any) -> None:
        path = f"{self.root}/jobs/{number}.json"
        job = json.loads(read(path)) | fields
        with open(path, "w", encoding="utf-8") as file:
            json.dump(job, file)


def read(path: str) -> str:
    """The file's text; nothing where there is no file."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def site() -> FakeSlurm:
    return FakeSlurm(os.environ["FAKE_SLURM"])


def end(code: int, said: str) -> None:
    print(said, file=sys.stderr)
    sys.exit(code)


def sbatch() -> None:
    fake = site()
    number = fake.note("sbatch")
    at = {name.removesuffix("_at") for name, when in fake.rules("sbatch").items() if when == number}
    if "--test-only" in sys.argv and "refuse" not in at:
        end(0, "sbatch: Job 81001 to start at 2024-11-21T14:35:00 using 2 processors on nodes node1 in partition main")
    if "hang" in at:
        time.sleep(3600)
    if "refuse" in at:
        end(1, "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates policy")
    if "kill_before" in at:
        os.kill(os.getppid(), signal.SIGKILL)
        return
    job_id = fake.add(sys.argv[1:])
    if "time_out" in at:
        end(1, "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    if "kill" in at:
        os.kill(os.getppid(), signal.SIGKILL)
        return
    print("lua: welcome to the cluster" if "odd" in at else f"lua: welcome to the cluster\n{job_id};cluster")


def squeue() -> None:
    fake = site()
    fake.note("squeue")
    if fake.rules("squeue").get("down"):
        end(1, "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    columns = re.findall(r"(\w+):(\d+)", next(word for word in sys.argv if word.startswith("--Format=")))
    names = {"JobID": "id", "State": "state", "RestartCnt": "restarts", "Reason": "reason", "Name": "name"}
    names |= {"SubmitTime": "submit", "StartTime": "start", "EndTime": "end", "NumNodes": "nodes"}
    for job in fake.jobs():
        if "squeue" in job["known"]:
            print("".join(str(job[names[name]])[: int(width)].ljust(int(width)) for name, width in columns))


def sacct() -> None:
    fake = site()
    fake.note("sacct")
    if not fake.rules("sacct").get("accounts", True):
        end(1, "Slurm accounting storage is disabled")
    wanted = next((word.partition("=")[2].split(",") for word in sys.argv if word.startswith("--jobs=")), [])
    named = next((word.partition("=")[2].split(",") for word in sys.argv if word.startswith("--name=")), [])
    for job in fake.jobs():
        if "sacct" in job["known"] and (job["id"] in wanted or job["name"] in named):
            state = "CANCELLED by 1000" if job["state"] == "CANCELLED" else job["state"]
            for restart in range(job["restarts"] + 1):
                last = restart == job["restarts"]
                fields = (job["id"], job["name"], state if last else "PREEMPTED", job["submit"], job["start"])
                rest = (job["end"].replace("N/A", "Unknown"), str(job["elapsed"]), "0:0", job["nodes"])
                print("|".join((*fields, *rest, str(job.get("energy", "")), "")))
                if "busy" in job and "--allocations" not in sys.argv:
                    print("|".join((f"{job['id']}.0", *fields[1:], *rest, "", f"cpu=1,gres/gpuutil={job['busy']}")))


def scontrol() -> None:
    fake = site()
    fake.note("scontrol")
    for job in fake.jobs():
        if job["id"] == sys.argv[-1] and "scontrol" in job["known"]:
            times = f"SubmitTime={job['submit']} StartTime={job['start']} EndTime={job['end']}"
            print(
                f"JobId={job['id']} JobName={job['name']} UserId=a(1000) JobState={job['state']} "
                f"Reason={job['reason']} Restarts={job['restarts']} {times} NumNodes={job['nodes']} Comment=JobState=NO"
            )
            return
    end(1, "slurm_load_jobs error: Invalid job id specified")


def scancel() -> None:
    fake = site()
    fake.note("scancel")
    if fake.rules("scancel").get("refuse"):
        end(1, "scancel: error: Kill job error on job id 81001: Access/permission denied")
    for number in sys.argv[1:]:
        fake.change(number, state="CANCELLED", reason="None")
