"""The results of all cells in one table, results.csv.

numbers       the cell's result.json; a cell that failed keeps its line, with the reason
node-hours    the scheduler's accounts; else what it said at the job's end; else the run's own clock
GPUs          the scheduler's accounts; else what nvidia-smi wrote down beside the result
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ..errors import reading, require
from ..records import misfit
from .folder import StudyFolder
from .gpu_use import gpu_use_of
from .job import Job
from .results import CellResult, to_csv
from .state import State
from .status import CellStatus, States, read_result
from .submissions import Attempt


def collect(folder: StudyFolder, states: States, accounts: Mapping[str, Job]) -> list[CellResult]:
    """Returns one line for each cell, in the plan's order.

    Args:
        folder: The study's files.
        states: The states of all cells.
        accounts: The jobs whose hours are known, by number.
    """
    return [_result(folder, status, accounts) for status in states.cells]


def write_results(folder: StudyFolder, results: list[CellResult]) -> None:
    """Writes results.csv whole.

    Raises:
        InputError: The file cannot be written.
    """
    folder.replace(folder.results, to_csv(results))


def _result(folder: StudyFolder, status: CellStatus, accounts: Mapping[str, Job]) -> CellResult:
    cell, path = status.cell, folder.cell(status.cell.name) / "result.json"
    content = read_result(folder, cell.name) if status.state is State.OK else None
    allowed, hint = "the file as the run wrote it", f"rm {path}, and adabatch study submit"
    with reading("result.json", path, allowed, hint):
        numbers = (
            {} if content is None else _measured(content) if content.get("kind") == "measure" else _trained(content)
        )
    account = accounts.get(status.job_id or "")
    percent, watts = gpu_use_of(folder.cell(cell.name), status.job_id)
    joules = [job.energy_j for number in status.job_ids if (job := accounts.get(number)) and job.energy_j is not None]
    result = CellResult(
        cell=cell.name,
        mode=cell.mode,
        nodes=cell.nodes,
        ranks=cell.ranks,
        variant=cell.variant,
        repeat=cell.repeat,
        state=status.state,
        reason=status.reason,
        job_ids=" ".join(status.job_ids),
        attempts=len(status.job_ids) or sum(not attempt.refused for attempt in status.attempts),
        wait_s=_wait_s(status, accounts),
        node_hours=_node_hours(folder, status, accounts),
        energy_j=sum(joules) if joules else None,
        gpu_percent=account.gpu_percent if account is not None and account.gpu_percent is not None else percent,
        gpu_watts=watts,
        **({"global_batch": cell.global_batch} | numbers),
    )
    wrong = misfit(result)
    require(wrong is None, "result.json", f"{path} (another type of {wrong})", allowed, hint)
    return result


def _measured(content: dict[str, Any]) -> dict[str, Any]:
    """Returns the columns of a cell that measured its steps."""
    same = ("data_s", "compute_s", "straggler_s", "exposed_s", "allreduce_s", "gradient_bytes", "samples_per_s")
    step = content.get("step_s") or {}
    return {
        "global_batch": content.get("global_batch"),
        "step_s": step.get("median_s"),
        "step_lower_s": step.get("lower_quartile_s"),
        "step_upper_s": step.get("upper_quartile_s"),
        **{name: content.get(name) for name in same},
    }


def _trained(content: dict[str, Any]) -> dict[str, Any]:
    """Returns the columns of a cell that trained."""
    metric, reached = content.get("metric") or {}, content.get("reached") or {}
    return {
        "global_batch": content.get("initial_global_batch"),
        "samples_per_s": content.get("samples_per_s"),
        "wall_s": content.get("wall_s"),
        "updates": content.get("steps"),
        "samples": content.get("samples_seen"),
        "metric": metric.get("name", ""),
        "value": metric.get("value"),
        "final_global_batch": content.get("final_global_batch"),
        "reached_wall_s": reached.get("wall_s"),
        "reached_samples": reached.get("samples"),
        "reached_updates": reached.get("step"),
    }


def _wait_s(status: CellStatus, accounts: Mapping[str, Job]) -> float | None:
    """Returns the seconds from submission to start of the last attempt."""
    job = accounts.get(status.job_id or "") or status.job
    if job is not None and job.state is not State.PENDING:
        return _between(job.submitted_s, job.began_s)
    seen = status.attempts[-1].seen if status.attempts else None
    return _between(seen.get("submitted_s"), seen.get("began_s")) if seen is not None else None


def _between(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else max(0.0, end_s - start_s)


def _node_hours(folder: StudyFolder, status: CellStatus, accounts: Mapping[str, Job]) -> float | None:
    """Returns the node-hours of all attempts whose hours are known; None where none are."""
    used = [_used_s(status, attempt, accounts) for attempt in status.attempts]
    known = [seconds for seconds in used if seconds is not None]
    if not accounts and status.attempts and (own_s := _own_clock_s(folder, status.cell.name)) is not None:
        known = [max(own_s, sum(known))]  # Slurm's times without accounts are those of the last start alone
    return sum(known) * status.cell.nodes / 3600 if known else None


def _used_s(status: CellStatus, attempt: Attempt, accounts: Mapping[str, Job]) -> float | None:
    if attempt.ended_s is not None:  # on this machine
        return attempt.ended_s - attempt.began_s
    account = accounts.get(attempt.job_id or "")
    if account is not None and account.used_s is not None:
        return account.used_s
    if status.job is not None and status.job.job_id == attempt.job_id and status.job.state is not State.PENDING:
        return _between(status.job.began_s, time.time() if status.job.state.active else status.job.ended_s)
    return _between(attempt.seen.get("began_s"), attempt.seen.get("ended_s")) if attempt.seen is not None else None


def _own_clock_s(folder: StudyFolder, cell: str) -> float | None:
    """Returns the last time in the run's journal: seconds since its start, over all its parts."""
    try:
        lines = (folder.cell(cell) / "journal.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            return float(json.loads(line)["time_s"])
        except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError):  # cut short, or damaged
            continue
    return None
