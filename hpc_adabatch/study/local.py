"""A study without Slurm: its cells one after another, all ranks on this machine.

Nodes are simulated: a cell of 2 nodes with 4 ranks each is 8 ranks here. Ctrl-C asks the running cell to write a
checkpoint and to end; the next submit goes on with it. The study's lock is handed on to launch/run and mpirun: a cell
whose submit was killed still counts as running.

Not here: cells on Slurm (submit.py).
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ..errors import require
from . import submissions
from .cells import Cell
from .flags import STALL_S
from .folder import StudyFolder
from .slurm_answers import last_cue
from .spec import Study
from .status import CellStatus, States, log_tail, ok_status
from .submissions import Attempt

_GRACE_S = 30.0  # for a checkpoint
_EXIT_CODES = {75: "stopped by a signal", 130: "interrupted"}


def command(study: Study, folder: StudyFolder, cell: Cell) -> list[str]:
    """The line that starts a cell's ranks here: as many as are wanted, on whatever cores there are.

    Raises:
        InputError: launch/run is not there.
    """
    resume = ["--resume", "auto"] if cell.verb == "train" else []
    program = [sys.executable, "-m", "hpc_adabatch", cell.verb, str(folder.recipe), *cell.arguments, *resume]
    start = ["env", "ADABATCH_LAUNCHER=mpirun", str(launch_script(Path(study.directory))), "-n", str(cell.ranks)]
    return [*start, *program, "--out", str(folder.cell(cell.name))]


def launch_script(directory: Path) -> Path:
    """launch/run of this folder, else of the checkout that this package lies in.

    Raises:
        InputError: there is none.
    """
    found = [path for path in (directory, Path(__file__).resolve().parents[2]) if (path / "launch" / "run").is_file()]
    require(bool(found), "where", f"local in {directory}", "a folder with launch/run", "git clone, and plan from there")
    return found[0] / "launch" / "run"


def find_states(study: Study, folder: StudyFolder, stall_s: float = STALL_S) -> States:
    """Where the cells of a study on this machine stand."""
    attempts = submissions.read(folder)
    newest = max((each.order for some in attempts.values() for each in some), default=-1)
    running = folder.in_use()
    found = []
    for cell in study.cells:
        tried = attempts.get(cell.name, [])
        ok = ok_status(folder, study, cell, tried)
        now_running = running and bool(tried) and tried[-1].order == newest
        found.append(ok or _status(folder, cell, tried, stall_s, running=now_running))
    return States(cells=found, silent=None)


def _status(folder: StudyFolder, cell: Cell, attempts: list[Attempt], stall_s: float, *, running: bool) -> CellStatus:
    start = CellStatus(cell=cell, state="PLANNED", attempts=tuple(attempts))
    if not attempts:
        return start
    last = attempts[-1]
    if last.error is not None:
        return replace(start, state="FAILED", reason=last.error)
    if last.exit_code is None and running:
        quiet_s = folder.quiet_s(cell.name)
        stalled = quiet_s > stall_s
        reason = f"nothing has moved for {quiet_s:.0f} s" if stalled else ""
        return replace(start, state="STALLED" if stalled else "RUNNING", reason=reason)
    if last.exit_code is None or last.stopped == "interrupted":
        return replace(start, reason="interrupted; submit goes on with it")
    if last.stopped == "timeout":
        return replace(start, state="TIMEOUT", reason="ran for longer than --time")
    if last.exit_code == 0:
        return replace(start, state="FAILED", reason="ended with 0, but there is no result.json")
    cue = last_cue("\n".join(log_tail(folder.cell(cell.name) / _output(last.number))))
    state = "OOM" if cue is not None and cue[0] == "OOM" else "FAILED"
    said = f": {cue[1]}" if cue is not None else ""
    what = _EXIT_CODES.get(last.exit_code, "")
    return replace(start, state=state, reason=f"exit code {last.exit_code} {what}".strip() + said)


def run(
    study: Study, folder: StudyFolder, cells: Iterable[Cell], retry: tuple[str, ...], say: Callable[[str], None]
) -> int:
    """Runs the cells that are planned or to be tried again.

    Returns:
        0, or 1 when a cell did not end well, 130 when the user stopped it.

    Raises:
        InputError: another submit is running, or the folder cannot be written.
    """
    wanted = {cell.name for cell in cells}
    failed = False
    with folder.lock() as lock:
        states = find_states(study, folder)
        # The lock is this process's: whatever looks as if it were running was interrupted.
        todo = [s for s in states.cells if s.cell.name in wanted and (s.state in _TO_RUN or s.state.lower() in retry)]
        for index, status in enumerate(todo, 1):
            say(f"{index} of {len(todo)}  {status.cell.name}  {status.cell.ranks} rank(s)")
            stopped, code = _run_cell(study, folder, status, lock)
            if stopped == "interrupted":
                say(f"{status.cell.name}: interrupted; the same command goes on with it")
                return 130
            if ok_status(folder, study, status.cell, status.attempts) is None:
                failed = True
                say(f"{status.cell.name}: exit code {code} {stopped}".rstrip())
    return 1 if failed else 0


def dry_run(study: Study, folder: StudyFolder, cells: Iterable[Cell], retry: tuple[str, ...]) -> Iterator[str]:
    """Lines for a shell that do what submit would, one a cell."""
    wanted = {cell.name for cell in cells}
    yield f"cd {shlex.quote(study.directory)}"
    for status in find_states(study, folder).cells:
        if status.cell.name in wanted and (status.state in _TO_RUN or status.state.lower() in retry):
            yield shlex.join(command(study, folder, status.cell))


_TO_RUN = ("PLANNED", "RUNNING", "STALLED")


def _output(number: int) -> str:
    return f"local-{number}.out"


def _run_cell(study: Study, folder: StudyFolder, status: CellStatus, lock: int) -> tuple[str, int]:
    """Runs one cell and writes down how it ended: (timeout, interrupted or nothing; exit code)."""
    cell, number = status.cell, len(status.attempts) + 1
    line = command(study, folder, cell)
    output = folder.make_cell(cell.name) / _output(number)
    submissions.write(folder, cell.name, number, command=line)
    stopped = ""
    with output.open("wb") as file:
        try:
            process = subprocess.Popen(
                line,
                cwd=study.directory,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for submit, which asks for a checkpoint first
                pass_fds=(lock,),
            )
        except OSError as error:
            submissions.write(folder, cell.name, number, error=f"{line[0]}: {error.strerror}", refused=True)
            return "not started", 1
        try:
            process.wait(timeout=study.time_limit_s)
        except subprocess.TimeoutExpired:
            stopped = "timeout"
        except KeyboardInterrupt:
            stopped = "interrupted"
        if stopped:
            _stop(process)
    submissions.write(folder, cell.name, number, exit_code=process.returncode, stopped=stopped)
    return stopped, process.returncode


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Asks launch/run for a checkpoint, then insists: it ends the ranks when it is interrupted twice."""
    for number, patience_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGINT, 1.0), (signal.SIGINT, 10.0)):
        process.send_signal(number)
        try:
            process.wait(timeout=patience_s)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # asked twice: the user means now
            continue
        return
    process.kill()
    process.wait()
