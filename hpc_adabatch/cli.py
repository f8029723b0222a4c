"""The command ``adabatch``.

Exit codes: 0 done, 1 a fault of the program, 2 input that cannot be used, 75 stopped by the scheduler and to be started
again, 130 stopped by the user.

Not here: what the commands do (training/run.py, training/preview.py, cluster/doctor.py), recipes (command_line.py).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NoReturn

from .errors import InputError, require

USAGE = """usage: adabatch COMMAND ...

  train RECIPE [--out DIR] [--resume auto] [--FIELD VALUE ...]   train; alone, or under horovodrun, mpirun, srun
  plan RECIPE [--ranks N] [--measure true] [--FIELD VALUE ...]   what will happen, before it happens
  report RUN                                                     table of a finished run
  doctor                                                         what is built, what is wrong, how to mend it

adabatch COMMAND --help tells more."""


@dataclass(frozen=True, kw_only=True)
class TrainFlags:
    """Where the run goes."""

    out: str | None = None
    """Folder of the run; runs/RECIPE-DATE when not given."""
    resume: Literal["no", "auto"] = "no"
    """auto: go on from the folder's checkpoint, or start when there is none."""


@dataclass(frozen=True, kw_only=True)
class PlanFlags:
    """For whom to plan."""

    ranks: int = 1
    """Ranks that will train."""
    measure: bool = False
    """Passes a few micro-batches of each size through the network here, for hours and memory."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and exits."""
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    commands: dict[str, Callable[[list[str]], int]] = {"train": train, "plan": plan, "report": report, "doctor": doctor}
    if command in ("-h", "--help"):
        print(USAGE)
        sys.exit(0)
    try:
        require(command in commands, "command", command, ", ".join(commands), "adabatch --help")
        code = commands[command](rest)
    except InputError as error:  # found before the ranks joined: the same on each
        from .cluster.environment import launch

        found = launch()
        if found is None or found.rank == 0:
            _complain(error)
        code = 2
    sys.exit(code)


def train(arguments: list[str]) -> int:
    """Trains a recipe. Faults on one rank end all."""
    from .cluster import Cluster
    from .command_line import parse_recipe

    recipe, flags, resolved = parse_recipe("train", arguments, TrainFlags)
    from .training.run import Run

    cluster = Cluster.start()
    try:
        name = f"runs/{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}"
        folder = Path(flags["out"] or cluster.tell(name))
        code = Run(recipe, resolved, folder, resume=flags["resume"] == "auto", cluster=cluster).train()
    except InputError as error:
        if not error.shared:  # the other ranks know nothing of it
            _complain(error, f" (rank {cluster.rank})" if cluster.size > 1 else "")
            cluster.abort(2)
        if cluster.leads:
            _complain(error)
        code = 2
    except BaseException as error:
        _report_fault(error, cluster.rank)
        cluster.abort(130 if isinstance(error, KeyboardInterrupt) else 1)
        raise
    cluster.stop()
    return code


def plan(arguments: list[str]) -> int:
    """Prints what a recipe will do."""
    from .command_line import parse_recipe

    recipe, flags, _ = parse_recipe("plan", arguments, PlanFlags)
    from .training.preview import preview

    preview(recipe, flags["ranks"], measure=flags["measure"])
    return 0


def report(arguments: list[str]) -> int:
    """Prints the table of a finished run."""
    from rich.console import Console

    from .training.result import report as parts

    require(len(arguments) == 1, "RUN", " ".join(arguments) or "nothing", "one folder", "adabatch report runs/NAME")
    if arguments[0] in ("-h", "--help"):
        print("usage: adabatch report RUN\n\nRUN is the folder of a finished run.")
        return 0
    console = Console(soft_wrap=True, highlight=False)
    for part in parts(Path(arguments[0])):
        console.print(part)
    return 0


def doctor(arguments: list[str]) -> int:
    """Prints what is built and what is wrong; 0 when nothing is."""
    if {"-h", "--help"} & set(arguments):
        print("usage: adabatch doctor\n\nRun it as you would train: alone, or under horovodrun, mpirun, srun.")
        return 0
    require(not arguments, "doctor", " ".join(arguments), "no arguments", "adabatch doctor")
    from .cluster.doctor import examine

    return examine()


def _complain(error: InputError, where: str = "") -> None:
    print(f"adabatch: error{where}: {error}", file=sys.stderr, flush=True)


def _report_fault(error: BaseException, rank: int) -> None:
    """The traceback of the rank that failed; one line from ranks that only lost a peer."""
    if type(error).__name__ == "HorovodInternalError":
        print(f"adabatch: rank {rank} ends because another rank did", file=sys.stderr, flush=True)
        return
    text = "".join(traceback.format_exception(error)).rstrip()
    print("\n".join(f"adabatch: rank {rank}: {line}" for line in text.splitlines()), file=sys.stderr, flush=True)
