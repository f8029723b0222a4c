"""This machine as the place of a study: its cells one after another, all ranks here.

Nodes are simulated: a cell of 2 nodes with 4 ranks each is 8 ranks here. Ctrl-C asks the running cell to write a
checkpoint and to end; the next submit goes on with it. The study's lock is handed on to launch/run and mpirun: a cell
whose submit was killed still counts as running.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from ..errors import InputError, require
from . import submissions
from .cells import Cell
from .checkout import checkout
from .flags import STALL_S, GridFlags
from .folder import StudyFolder
from .job import Job, last_cue
from .place import Order, Place, Say, Terms
from .placement import options
from .spec import Study
from .state import State
from .status import CellStatus, States, log_tail, ok_status, running
from .submissions import Attempt

_GRACE_S = 30.0  # for a checkpoint
_EXIT_CODES = {
    70: "training has diverged",
    74: "files cannot be written",
    75: "stopped by a signal",
    130: "interrupted",
}


class ThisMachine(Place):
    """This machine, where cells wait for each other."""

    one_machine = True

    @staticmethod
    def terms(flags: GridFlags, words: tuple[str, ...], directory: Path) -> Terms:
        others = [word for word in words if not word.startswith(("--time=", "-t"))]
        require(not others, "sbatch", " ".join(others), "only --time with --where local", "--sbatch=--time=00:20:00")
        launcher = flags.launcher or "mpirun"
        require(launcher == "mpirun", "launcher", launcher, "mpirun with --where local", "--launcher mpirun")
        follows = "follow" in flags.mode.split(",")
        require(not follows, "mode", "follow with --where local", "--where slurm: it goes from job to job")
        checkout(directory, "where", "local")
        return Terms(template="", launcher=launcher, asked=options(words))

    @property
    def title(self) -> str:
        return "this machine"

    def look(self, stall_s: float = STALL_S) -> States:
        return self._states(stall_s, in_use=self.folder.in_use())

    def lines(self, order: Order) -> Iterator[str]:
        _no_chain(order)
        yield f"cd {shlex.quote(self.study.directory)}"
        for status in self._states(in_use=False).to_start(order.cells, order.retry):
            yield shlex.join(command(self.study, self.folder, status.cell))

    def test(self, order: Order) -> NoReturn:
        raise InputError("test_only", "for a study on this machine", "without it")

    def submit(self, order: Order, say: Say) -> int:
        """Executes one cell after another. Returns 0, 1 when a cell did not end well, 130 when the user stopped it.

        Raises:
            InputError: Another submit is running, the folder cannot be written, or the cells are to be a chain.
        """
        _no_chain(order)
        failed = False
        with self.folder.lock() as lock:
            # The lock is this process's: whatever looks as if it were running was interrupted.
            states = self._states(in_use=False)
            todo = states.to_start(order.cells, order.retry)
            if not todo:
                say(states.nothing_to_submit(order.cells))
            for index, status in enumerate(todo, 1):
                say(f"{index} of {len(todo)}  {status.cell.name}  {status.cell.ranks} rank(s)")
                stopped, code = _run_cell(self.study, self.folder, status, lock)
                if stopped == "interrupted":
                    say(f"{status.cell.name}: interrupted; the same command goes on with it")
                    return 130
                if ok_status(self.folder, self.study, status.cell, status.attempts) is None:
                    failed = True
                    say(f"{status.cell.name}: exit code {code} {stopped}".rstrip())
        return 1 if failed else 0

    def cancel(self, cells: Sequence[Cell]) -> NoReturn:
        given = f"{self.study.name}, which runs on this machine"
        raise InputError("NAME", given, "a study on Slurm", "Ctrl-C where adabatch study submit runs")

    def accounts(self, states: States) -> Mapping[str, Job]:
        """Returns nothing: there are no jobs, and the hours of cells are written down."""
        return {}

    def _states(self, stall_s: float = STALL_S, *, in_use: bool) -> States:
        """Returns where the cells stand.

        Args:
            stall_s: Seconds without a change, after which a running cell counts as stalled.
            in_use: True where another process holds the study's lock, so that the newest attempt may be running.
        """
        attempts = submissions.read(self.folder)
        newest = max((each.order for some in attempts.values() for each in some), default=-1)
        found = []
        for cell in self.study.cells:
            tried = attempts.get(cell.name, [])
            ok = ok_status(self.folder, self.study, cell, tried)
            runs = in_use and bool(tried) and tried[-1].order == newest
            found.append(ok or _status(self.folder, cell, tried, stall_s, runs=runs))
        return States(cells=found)


def command(study: Study, folder: StudyFolder, cell: Cell) -> list[str]:
    """Returns the line that starts a cell's ranks here: as many as are wanted, on whatever cores there are.

    Raises:
        InputError: There is no launch/run.
    """
    resume = ["--resume", "auto"] if cell.verb == "train" else []
    program = [sys.executable, "-m", "hpc_adabatch", cell.verb, str(folder.recipe), *cell.arguments, *resume]
    home = checkout(Path(study.directory), "where", "local")
    start = ["env", "ADABATCH_LAUNCHER=local", str(home / "launch" / "run"), "-n", str(cell.ranks)]
    return [*start, *program, "--out", str(folder.cell(cell.name))]


def _no_chain(order: Order) -> None:
    given = "for a study on this machine, whose cells wait for each other anyway"
    require(not order.chain, "chain", given, "without it")


def _status(folder: StudyFolder, cell: Cell, attempts: Sequence[Attempt], stall_s: float, *, runs: bool) -> CellStatus:
    start = CellStatus(cell=cell, state=State.PLANNED, attempts=tuple(attempts))
    if not attempts:
        return start
    last = attempts[-1]
    if last.error is not None:
        return replace(start, state=State.FAILED, reason=last.error)
    if last.exit_code is None and runs:
        state, reason = running(folder, cell.name, stall_s)
        return replace(start, state=state, reason=reason)
    if last.exit_code is None or last.stopped == "interrupted":
        return replace(start, reason="interrupted; submit goes on with it")
    if last.stopped == "timeout":
        return replace(start, state=State.TIMEOUT, reason="ran for longer than --time")
    if last.exit_code == 0:
        return replace(start, state=State.FAILED, reason="ended with 0, but there is no result.json")
    cue = last_cue("\n".join(log_tail(folder.cell(cell.name) / _output(last.number))))
    state = State.OOM if cue is not None and cue[0] is State.OOM else State.FAILED
    said = f": {cue[1]}" if cue is not None else ""
    what = _EXIT_CODES.get(last.exit_code, "")
    return replace(start, state=state, reason=f"exit code {last.exit_code} {what}".strip() + said)


def _output(number: int) -> str:
    return f"local-{number}.out"


def _run_cell(study: Study, folder: StudyFolder, status: CellStatus, lock: int) -> tuple[str, int]:
    """Runs one cell and writes down how it ended. Returns (timeout, interrupted or nothing; exit code)."""
    cell, number = status.cell, status.next_attempt
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
