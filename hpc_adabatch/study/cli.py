"""The command ``adabatch study VERB NAME``.

Exit codes: 0 done, 1 the place refused or a cell failed, 2 input that cannot be used, 130 stopped by the user. Those of
``status``: 0 all cells are OK, 3 some are still to come, 4 some failed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, require
from .flags import CancelFlags, FolderFlags, GridFlags, PredictFlags, ReportFlags, StatusFlags, SubmitFlags, parse

if TYPE_CHECKING:
    from .place import Place
    from .results import CellResult
    from .status import States

USAGE = """usage: adabatch study VERB NAME ...

A study is a grid of cells (node counts, modes, repeats); each cell is one job.

  plan NAME --nodes 1,2,4 [--mode strong,adaptive] ... -- RECIPE [--FIELD VALUE ...]
                                                  Checks everything, and writes the study down.
  submit NAME [--dry_run | --test_only] [--cells 'nodes<=4'] [--chain] [--retry timeout,oom]
                                                  Submits the cells that have no job yet; as often as you like.
  status NAME [--json] [--watch 60]               Shows the state of each cell.
  collect NAME                                    Writes results.csv, and prints it as a table.
  report NAME [--proposal [--efficiency 0.75]]    Writes report/: tables, pictures, a page; evidence for a centre.
  predict NAME --nodes 64 [--far]                 Predicts the steps on more nodes.
  cancel NAME [--cells 'mode=weak']               Cancels the jobs that wait or run.

adabatch study VERB --help tells more."""


def main(arguments: list[str]) -> int:
    """Carries out the verb. Returns the exit code."""
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
    from .place import PlaceError

    try:
        require(verb in verbs, "study", verb, ", ".join(verbs), "adabatch study --help")
        return verbs[verb](rest)
    except InputError as error:
        print(f"adabatch: error: {error}", file=sys.stderr, flush=True)
        return 2
    except PlaceError as error:
        print(f"adabatch: error: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130


_GRIDS = {
    "vary": "FIELD=a,b: Adds every value to every cell. Repeat the flag for more fields.",
    "zip": "FIELD=a,b,c: The i-th value goes with the i-th node count. Repeat the flag for more fields.",
}


def plan(arguments: list[str]) -> int:
    """Checks a study and writes it down."""
    own, recipe = arguments, []
    if "--" in arguments:
        at = arguments.index("--")
        own, recipe = arguments[:at], arguments[at + 1 :]
    name, given = parse("plan", own, GridFlags, lists=_GRIDS)
    vary, zipped = given.pop("vary"), given.pop("zip")
    from ..terminal import display
    from .folder import StudyFolder
    from .plan import make_study
    from .terminal import batches_text, plan_table

    study = make_study(name, GridFlags(**given), vary, zipped, recipe, Path.cwd())
    folder = StudyFolder(Path(given["folder"]), name)
    folder.create(study)
    display(plan_table(study))
    display(f"{len(study.cells)} jobs, {study.hours_in_words(study.cells)}", batches_text(study))
    display(f"in {folder.path}; next: adabatch study submit {name}")
    return 0


def submit(arguments: list[str]) -> int:
    """Starts the cells that have no job yet."""
    name, given = parse("submit", arguments, SubmitFlags)
    flags = SubmitFlags(**given)
    place = _place(name, flags.folder)
    from ..terminal import display
    from .cells import select
    from .place import Order, parse_retry

    retry = parse_retry(flags.retry)
    order = Order(cells=select(place.study.cells, flags.cells), retry=retry, chain=flags.chain)
    require(bool(order.cells), "cells", flags.cells, "a filter that some cell fits", "--cells 'nodes<=4'")
    if flags.dry_run:
        for line in place.lines(order):
            print(line)
        return 0
    if flags.test_only:
        accepted = True
        for taken, said in place.test(order):
            accepted = accepted and taken
            print(said)
        return 0 if accepted else 1
    return place.submit(order, display)


def status(arguments: list[str]) -> int:
    """Shows the state of each cell. Returns 0 for all OK, 3 for some still to come, 4 for some failed."""
    name, given = parse("status", arguments, StatusFlags)
    flags = StatusFlags(**given)
    place = _place(name, flags.folder)
    require(flags.stall > 0, "stall", flags.stall, "more than 0", "--stall 600")
    require(flags.watch is None or flags.watch >= 1, "watch", flags.watch, "1 second or more", "--watch 60")
    while True:
        states = place.look(flags.stall)
        _show_states(states, json=flags.json)
        if flags.watch is None or not any(cell.state.active for cell in states.cells):
            return states.exit_code()
        time.sleep(flags.watch)


def _show_states(states: States, *, json: bool) -> None:
    from ..terminal import display
    from .terminal import status_json, status_table, totals

    if json:
        print(status_json(states), flush=True)
        return
    display(status_table(states), totals(states))
    if states.silent is not None and any(cell.attempts for cell in states.cells):
        print(f"adabatch: squeue does not answer: {states.silent}", file=sys.stderr, flush=True)


def collect(arguments: list[str]) -> int:
    """Writes results.csv, and prints it as a table."""
    name, given = parse("collect", arguments, FolderFlags)
    place = _place(name, given["folder"])
    results = _results(place)
    from ..terminal import display
    from .terminal import hours_used, results_table

    display(results_table(results), f"{hours_used(results)}\n{place.folder.results}")
    return 0


def report(arguments: list[str]) -> int:
    """Writes the report."""
    name, given = parse("report", arguments, ReportFlags)
    flags = ReportFlags(**given)
    require(0 < flags.efficiency <= 1, "efficiency", flags.efficiency, "more than 0, at most 1", "--efficiency 0.75")
    place = _place(name, flags.folder)
    from ..training.journal import read
    from .report.files import write_report
    from .report.proposal import Proposal

    def journal(result: CellResult) -> list[dict[str, Any]] | None:
        path = place.folder.cell(result.cell) / "journal.jsonl"
        return read(path) if path.exists() else None

    study = place.study
    proposal = Proposal(
        threshold=flags.efficiency,
        script=place.folder.script.read_text(encoding="utf-8", errors="replace") if study.template else "",
        launcher=study.launcher,
        flags=study.sbatch,
        one_machine=place.one_machine,
        differing=tuple(study.zipped),
    )
    chosen = proposal if flags.proposal else None
    print(write_report(place.folder.path, study.about(place.title), _results(place), journal, chosen))
    return 0


def predict(arguments: list[str]) -> int:
    """Predicts the steps on more nodes."""
    name, given = parse("predict", arguments, PredictFlags)
    place = _place(name, given["folder"])
    from ..terminal import display
    from .nodes import node_counts
    from .outlook import prediction_parts
    from .predict import predict as predict_steps

    results = _results(place)
    display(*prediction_parts(predict_steps(results, node_counts(given["nodes"]), far=given["far"])))
    return 0


def cancel(arguments: list[str]) -> int:
    """Cancels the jobs that wait or run."""
    name, given = parse("cancel", arguments, CancelFlags)
    place = _place(name, given["folder"])
    from ..terminal import display
    from .cells import select

    ended = place.cancel(select(place.study.cells, given["cells"]))
    display(*(f"{one.cell.name}  job {one.job_id}" for one in ended))
    display(f"{len(ended)} cancelled" if ended else "nothing waits or runs")
    return 0


def _place(name: str, root: str) -> Place:
    from .folder import StudyFolder
    from .places import place_of

    folder = StudyFolder(Path(root), name)
    return place_of(folder.load(), folder)


def _results(place: Place) -> list[CellResult]:
    """Returns what all cells came to, after writing it to results.csv."""
    from .collect import collect as results_of
    from .collect import write_results

    states = place.look()
    results = results_of(place.folder, states, place.accounts(states))
    write_results(place.folder, results)
    return results
