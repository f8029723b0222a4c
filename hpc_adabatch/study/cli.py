"""The command ``adabatch study VERB NAME``.

Exit codes: 0 done, 1 Slurm refused or a cell failed, 2 input that cannot be used, 130 stopped by the user. Those of
``status``: 0 all cells are OK, 3 some are still to come, 4 some failed.

Not here: what the verbs do (grid.py, submit.py, local.py, status.py, collect.py, cancel.py, report/, scaling/).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, require
from .cells import Cell, select
from .flags import STALL_S, CancelFlags, FolderFlags, GridFlags, PredictFlags, StatusFlags, SubmitFlags, parse
from .folder import StudyFolder
from .grid import make_study, ranks_text
from .slurm import Slurm, SlurmError, clean_environment
from .spec import Study
from .status import States, remember

USAGE = """usage: adabatch study VERB NAME ...

  plan NAME --nodes 1,2,4 [--mode strong,adaptive] ... -- RECIPE [--FIELD VALUE ...]
                                                  checks everything, and writes the study down
  submit NAME [--dry_run | --test_only] [--cells 'nodes<=4'] [--chain] [--retry timeout,oom]
                                                  submits what has no job yet; as often as you like
  status NAME [--json] [--watch 60]               where the cells stand
  collect NAME                                    results.csv, and a table
  report NAME                                     report/: tables, pictures, a page
  predict NAME --nodes 64 [--far]                 what more nodes would bring
  cancel NAME [--cells 'mode=weak']               ends what waits or runs

adabatch study VERB --help tells more."""


def main(arguments: list[str]) -> int:
    """Runs the verb. Returns the exit code."""
    verb, *rest = arguments or ["--help"]
    verbs: dict[str, Callable[[list[str]], int]] = {
        "plan": plan,
        "submit": submit,
        "status": status,
        "collect": collect,
        "report": report,
        "predict": predict,
        "cancel": cancel,
    }
    if verb in ("-h", "--help"):
        print(USAGE)
        return 0
    try:
        require(verb in verbs, "study", verb, ", ".join(verbs), "adabatch study --help")
        return verbs[verb](rest)
    except InputError as error:
        print(f"adabatch: error: {error}", file=sys.stderr, flush=True)
        return 2
    except SlurmError as error:
        print(f"adabatch: error: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130


def plan(arguments: list[str]) -> int:
    """Checks a study and writes it down."""
    own, recipe = arguments, []
    if "--" in arguments:
        at = arguments.index("--")
        own, recipe = arguments[:at], arguments[at + 1 :]
    name, given = parse("plan", own, GridFlags, lists=_GRIDS)
    vary, zipped = given.pop("vary"), given.pop("zip")
    study = make_study(name, GridFlags(**given), vary, zipped, recipe, Path.cwd())
    folder = StudyFolder(Path(given["folder"]), name)
    if study.where == "local":
        from .local import launch_script

        launch_script(Path(study.directory))
    folder.create(study)
    from ..terminal import display
    from .terminal import plan_table

    display(plan_table(study))
    display(f"{len(study.cells)} jobs, {_hours(study, study.cells)}\n{ranks_text(study)}")
    display(f"in {folder.path}; next: adabatch study submit {name}")
    return 0


_GRIDS = {
    "vary": "FIELD=a,b: every value with every cell; may be given again for another field",
    "zip": "FIELD=a,b,c: one value a node count; may be given again",
}


def submit(arguments: list[str]) -> int:
    """Submits the cells that have no job yet."""
    name, given = parse("submit", arguments, SubmitFlags)
    flags = SubmitFlags(**given)
    folder, study = _load(name, flags.folder)
    from ..terminal import display
    from .submit import parse_retry, to_submit

    retry, cells = parse_retry(flags.retry), select(study.cells, flags.cells)
    require(bool(cells), "cells", flags.cells, "a filter that some cell fits", "--cells 'nodes<=4'")
    if study.where == "local":
        return _submit_here(study, folder, cells, retry, flags)
    slurm = _slurm(study)
    _, overrides = clean_environment()
    if flags.dry_run or flags.test_only:
        chosen = to_submit(_states(study, folder, slurm), cells, retry)
        if flags.dry_run:
            return _print_lines(study, folder, chosen, overrides, chain=flags.chain)
        return _test(study, folder, slurm, [status.cell for status in chosen])
    own = any(word.startswith(("--dependency", "-d")) for word in study.sbatch)
    require(not (flags.chain and own), "chain", "with --dependency in --sbatch", "one of them")
    if overrides:
        display(f"taken out of sbatch's environment, for they win over the script: {' '.join(overrides)}")
    from .submit import submit as submit_cells

    done = submit_cells(study, folder, slurm, cells, retry=retry, chain=flags.chain, say=display)
    display(f"{len(done)} submitted, {_hours(study, done)}" if done else "nothing to submit")
    return 0


def _submit_here(
    study: Study, folder: StudyFolder, cells: Sequence[Cell], retry: tuple[str, ...], flags: SubmitFlags
) -> int:
    from ..terminal import display
    from . import local

    require(not flags.test_only, "test_only", "for a study on this machine", "without it")
    require(
        not flags.chain, "chain", "for a study on this machine, whose cells wait for each other anyway", "without it"
    )
    if flags.dry_run:
        for line in local.dry_run(study, folder, cells, retry):
            print(line)
        return 0
    return local.run(study, folder, cells, retry, display)


def _print_lines(study: Study, folder: StudyFolder, chosen: Sequence[Any], overrides: list[str], *, chain: bool) -> int:
    from .submit import dry_run

    for line in dry_run(study, folder, chosen, overrides, chain=chain):
        print(line)
    return 0


def _test(study: Study, folder: StudyFolder, slurm: Slurm, cells: Sequence[Cell]) -> int:
    from .submit import test_only

    accepted = True
    for ok, said in test_only(study, folder, slurm, cells):
        accepted = accepted and ok
        print(said)
    return 0 if accepted else 1


def status(arguments: list[str]) -> int:
    """Shows where the cells stand; 0 all OK, 3 some still to come, 4 some failed."""
    name, given = parse("status", arguments, StatusFlags)
    flags = StatusFlags(**given)
    folder, study = _load(name, flags.folder)
    require(flags.stall > 0, "stall", flags.stall, "more than 0", "--stall 600")
    require(flags.watch is None or flags.watch >= 1, "watch", flags.watch, "1 second or more", "--watch 60")
    slurm = _slurm(study)
    while True:
        states = _states(study, folder, slurm, flags.stall)
        if study.where == "slurm":
            remember(folder, states)
        _show_states(states, json=flags.json)
        waiting = any(cell.state in ("PENDING", "RUNNING", "STALLED") for cell in states.cells)
        if flags.watch is None or not waiting:
            return states.exit_code()
        slurm.wait(flags.watch)


def _show_states(states: States, *, json: bool) -> None:
    from ..terminal import display
    from .terminal import status_json, status_table, totals

    if json:
        print(status_json(states), flush=True)
        return
    display(status_table(states))
    display(totals(states))
    if states.silent is not None and any(cell.attempts for cell in states.cells):
        print(f"adabatch: squeue does not answer: {states.silent}", file=sys.stderr, flush=True)


def collect(arguments: list[str]) -> int:
    """Writes results.csv, and prints it as a table."""
    name, given = parse("collect", arguments, FolderFlags)
    folder, study = _load(name, given["folder"])
    results = _collect(study, folder)
    from ..terminal import display
    from .terminal import hours_used, results_table

    display(results_table(results))
    display(f"{hours_used(results)}\n{folder.results}")
    return 0


def report(arguments: list[str]) -> int:
    """Writes the report."""
    name, given = parse("report", arguments, FolderFlags)
    folder, study = _load(name, given["folder"])
    from ..training.journal import read
    from .report.files import write_report
    from .results import CellResult

    def journal(result: CellResult) -> list[dict[str, Any]] | None:
        path = folder.cell(result.cell) / "journal.jsonl"
        return read(path) if path.exists() else None

    print(write_report(folder.path, study.about(), _collect(study, folder), journal))
    return 0


def predict(arguments: list[str]) -> int:
    """Says what more nodes would bring."""
    name, given = parse("predict", arguments, PredictFlags)
    folder, study = _load(name, given["folder"])
    from ..terminal import display
    from .nodes import node_counts
    from .outlook import prediction_parts
    from .scaling.predict import predict as predict_steps

    for part in prediction_parts(predict_steps(_collect(study, folder), node_counts(given["nodes"]), far=given["far"])):
        display(part)
    return 0


def cancel(arguments: list[str]) -> int:
    """Ends what waits or runs."""
    name, given = parse("cancel", arguments, CancelFlags)
    folder, study = _load(name, given["folder"])
    allowed, hint = "a study on Slurm", "Ctrl-C where adabatch study submit runs"
    require(study.where == "slurm", "NAME", f"{name}, which runs on this machine", allowed, hint)
    from ..terminal import display
    from .cancel import cancel as cancel_cells

    ended = cancel_cells(study, folder, _slurm(study), select(study.cells, given["cells"]))
    for one in ended:
        display(f"{one.cell.name}  job {one.job_id}")
    display(f"{len(ended)} cancelled" if ended else "nothing waits or runs")
    return 0


def _load(name: str, root: str) -> tuple[StudyFolder, Study]:
    folder = StudyFolder(Path(root), name)
    return folder, folder.load()


def _slurm(study: Study) -> Slurm:
    return Slurm(Path(study.directory))


def _states(study: Study, folder: StudyFolder, slurm: Slurm, stall_s: float = STALL_S) -> States:
    from . import local
    from .status import find_states

    if study.where == "local":
        return local.find_states(study, folder, stall_s)
    return find_states(study, folder, slurm, stall_s)


def _collect(study: Study, folder: StudyFolder) -> Any:
    from .collect import collect as collect_cells
    from .collect import write_results

    slurm = _slurm(study)
    states = _states(study, folder, slurm)
    if study.where == "slurm":
        remember(folder, states)
    results = collect_cells(folder, states, slurm if study.where == "slurm" else None)
    write_results(folder, results)
    return results


def _hours(study: Study, cells: Sequence[Cell]) -> str:
    hours = study.node_hours(list(cells))
    return "without a time limit that is known (--time)" if hours is None else f"at most {hours:.2f} node-hours"
