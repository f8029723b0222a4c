"""The results of all cells in one table, results.csv.

numbers       the cell's result.json; a cell that failed keeps its line, with the reason
node-hours    the scheduler's accounts; else what it said at the job's end; else the run's own clock
GPUs          the scheduler's accounts; else what nvidia-smi wrote down beside the result
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..errors import reading, require
from ..records import misfit
from .cells import Cell
from .folder import StudyFolder
from .gpu_use import gpu_use_of
from .job import Job
from .own_clock import OwnClock, own_clock
from .results import CellResult, to_csv
from .state import State
from .status import CellStatus, States, read_result


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
    clock = own_clock(path.with_name("journal.jsonl"), cell.ranks)
    content = read_result(folder, cell.name) if status.state is State.OK else None
    allowed, hint = "the file as the run wrote it", f"rm {path}, and adabatch study submit"
    with reading("result.json", path, allowed, hint):
        numbers: dict[str, Any] = {}
        if content is not None:
            measured = content.get("kind") == "measure"
            numbers = _measured(content) if measured else _trained(content, clock, cell)
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
        node_hours=_node_hours(status, clock, accounts),
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


def _trained(content: dict[str, Any], clock: OwnClock | None, cell: Cell) -> dict[str, Any]:
    """Returns the columns of a cell that trained."""
    metric, reached = content.get("metric") or {}, content.get("reached") or {}
    seconds, per_node = reached.get("wall_s") or content.get("wall_s"), cell.ranks // cell.nodes
    if clock is None and seconds is not None and cell.mode != "follow":
        clock = OwnClock(parts=((0.0, cell.ranks),), end_s=seconds)
    rank_s = clock.rank_seconds(seconds) if clock is not None and seconds is not None else None
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
        "run_node_hours": rank_s / per_node / 3600 if rank_s is not None else None,
    }


def _wait_s(status: CellStatus, accounts: Mapping[str, Job]) -> float | None:
    """Returns the seconds from submission to start of the last job; in mode follow, of all jobs together."""
    numbers = status.job_ids if status.cell.mode == "follow" else [status.job_id or ""]
    waits = [_wait_of(status, number, accounts) for number in numbers]
    known = [wait_s for wait_s in waits if wait_s is not None]
    return sum(known) if known else None


def _wait_of(status: CellStatus, job_id: str, accounts: Mapping[str, Job]) -> float | None:
    job = accounts.get(job_id) or _last_job(status, job_id)
    if job is not None and job.state is not State.PENDING:
        return _between(job.submitted_s, job.began_s)
    seen = next((attempt.seen for attempt in status.attempts if attempt.job_id == job_id), None)
    return _between(seen.get("submitted_s"), seen.get("began_s")) if seen is not None else None


def _last_job(status: CellStatus, job_id: str) -> Job | None:
    return status.job if status.job is not None and status.job.job_id == job_id else None


def _between(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else max(0.0, end_s - start_s)


def _node_hours(status: CellStatus, clock: OwnClock | None, accounts: Mapping[str, Job]) -> float | None:
    """Returns the node-hours of all jobs whose hours are known; None where none are."""
    cell = status.cell
    here = [(one.ended_s - one.began_s) * cell.nodes for one in status.attempts if one.ended_s is not None]
    seen = {one.job_id: one.seen for one in status.attempts if one.ended_s is None}
    jobs = [_node_seconds(status, number, seen.get(number), accounts) for number in status.job_ids]
    known = [*here, *(seconds for seconds in jobs if seconds is not None)]
    if not accounts and status.attempts and clock is not None:
        own_s = clock.rank_seconds() * cell.nodes / cell.ranks
        known = [max(own_s, sum(known))]  # Slurm's times without accounts are those of the last start alone
    return sum(known) / 3600 if known else None


def _node_seconds(
    status: CellStatus, job_id: str, seen: Mapping[str, Any] | None, accounts: Mapping[str, Job]
) -> float | None:
    """Returns the seconds of a job in Slurm times its nodes; None where they are not known."""
    account, last, times = accounts.get(job_id), _last_job(status, job_id), seen or {}
    used_s, nodes = _between(times.get("began_s"), times.get("ended_s")), times.get("nodes")
    if account is not None and account.used_s is not None:
        used_s, nodes = account.used_s, account.nodes
    elif last is not None and last.state is not State.PENDING:
        used_s = _between(last.began_s, time.time() if last.state.active else last.ended_s)
        nodes = last.nodes
    return None if used_s is None else used_s * (nodes or status.cell.nodes)
