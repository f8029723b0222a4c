"""The result of a run, for tools and for people: result.json, and a table.

Everything is made from the journal, so it can be made again for any run. docs/run-folder.md describes the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType

from ..errors import reading
from ..files import write_json
from ..terminal import table
from ..training.journal import Record
from .outcome import outcome
from .report.account import ALLOWED, Account, State, account
from .report.comparison import comparison_table, comparison_verdict
from .report.tables import phase_table
from .report.words import evaluated, instead, place, standing
from .target import Target


def write_result(
    path: Path,
    records: list[Record],
    *,
    wall_s: float,
    samples_per_s: float,
    target: Target | None = None,
) -> None:
    """Writes result.json, which exists only when it is complete.

    Args:
        path: The file.
        records: The whole journal.
        wall_s: The seconds of the run, earlier parts of a resumed one included.
        samples_per_s: The samples per second of training, over all ranks.
        target: The metric to train to; None for the whole recipe.
    """
    write_json(path, outcome(records, wall_s=wall_s, samples_per_s=samples_per_s, target=target))


def report(folder: Path) -> Iterator[RenderableType]:
    """Yields the table of the batch's growth, the metric, the updates saved, and the paths of the files.

    Raises:
        InputError: There is no run in the folder, or its files are damaged.
    """
    yield from lines([account(folder)])


def lines(runs: Sequence[Account]) -> list[RenderableType]:
    """Returns what the terminal shows of a run, or of several beside the first.

    Raises:
        InputError: Something in their files is missing or of another type.
    """
    with reading("RUN", " ".join(str(run.folder.path) for run in runs), ALLOWED, "adabatch report runs/NAME"):
        return list(_of_one(runs[0]) if len(runs) == 1 else _of_several(runs))


def _of_one(run: Account) -> Iterator[RenderableType]:
    result, rows = run.result, phase_table(run.records)
    yield table(rows.head, rows.rows, unbroken=("epochs",))
    if run.state != State.COMPLETE:
        yield f"state          {standing(run)}"
    yield f"test {result['metric']['name']}  {evaluated(run)} after {result['epochs']:.6g} epochs on {place(run)}"
    if result["steps"]:
        yield f"updates        {instead(run)}"
    files = {"results": run.folder.result, "picture": run.folder.picture}
    if there := [f"{name:14} {file}" for name, file in files.items() if file.exists()]:
        yield "\n".join(there)


def _of_several(runs: Sequence[Account]) -> Iterator[RenderableType]:
    rows = comparison_table(runs)
    yield table(rows.head, rows.rows, left=rows.words)
    yield comparison_verdict(runs)
    yield rows.note
