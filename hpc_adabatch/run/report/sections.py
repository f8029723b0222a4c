"""What stands on a page below the charts, and in which order: time, stretches, decisions, restarts, where it ran."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ...terminal import count
from .account import Account, State
from .comparison import comparison_table
from .tables import Table, decision_table, facts, phase_table, restart_table, shown
from .time_spent import MEASURED, Part, statistics_cost, step_parts, time_spent
from .words import in_time, standing

OPEN = 12
"""Rows up to which a table of decisions or restarts is shown at once; a longer one is unfolded by a click."""


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading."""

    title: str
    """The heading."""
    table: Table | None = None
    """The table of its numbers."""
    words: str = ""
    """A sentence or two above the table."""
    code: str = ""
    """A command to type, below the words."""
    shares: tuple[Part, ...] = ()
    """The parts of a bar above the table."""
    folded: bool = False
    """True where the table is unfolded by a click."""


def sections(runs: Sequence[Account]) -> list[Section]:
    """Returns the sections of a page on one run, or on several."""
    return of_one(runs[0]) if len(runs) == 1 else of_several(runs)


def of_one(run: Account) -> list[Section]:
    """Returns the sections on a run."""
    decisions, restarts = decision_table(run), restart_table(run)
    found = [_time(run), _step(run), Section("The batch, stretch by stretch", shown(phase_table(run.records)))]
    if decisions.rows or decisions.note:
        found.append(
            Section("Decisions that changed batch or rate", shown(decisions), folded=len(decisions.rows) > OPEN)
        )
    if restarts.rows:
        found.append(Section("Restarts", shown(restarts), folded=len(restarts.rows) > OPEN))
    found.append(Section("What ran, and where", facts(about(run))))
    return [section for section in found if section is not None]


def of_several(runs: Sequence[Account]) -> list[Section]:
    """Returns the sections on several runs."""
    names = list(dict.fromkeys(part.name for run in runs for part in time_spent(run)))
    rows = []
    for run in runs:
        seconds = {part.name: part.seconds for part in time_spent(run)}
        total = sum(seconds.values())
        rows.append((run.label, *(_share(seconds.get(name, 0.0), total) for name in names)))
    head = list(dict.fromkeys(name for run in runs for name, _ in about(run)))
    told = [(run.label, *(str(dict(about(run)).get(name) or "") for name in head)) for run in runs]
    return [
        Section("Beside the first", comparison_table(runs)),
        Section("Where the time went", Table(("run", *names), rows, ("run",))),
        Section("What ran, and where", Table(("run", *head), told, ("run", *head))),
    ]


def _time(run: Account) -> Section:
    parts = time_spent(run)
    total = sum(part.seconds for part in parts)
    rows = [(part.name, in_time(part.seconds), f"{part.seconds / total:.1%}") for part in parts]
    cost = statistics_cost(run)
    note = f"Of the training steps, measuring the noise took about {cost:.1%}." if cost is not None else ""
    return Section("Where the time went", Table(("", "time", "share"), rows, ("",), note), shares=tuple(parts))


def _step(run: Account) -> Section | None:
    parts, folder = step_parts(run), run.folder
    if not parts and not folder.config.exists():  # a script's, which adabatch cannot start
        return None
    if not parts:
        words = (
            "How much of a step waits for samples or for other ranks is not in a journal. To see it here, start this "
            "on as many ranks as the run, and make the page again:"
        )
        code = shlex.join(["adabatch", "measure", str(folder.config), "--out", str(folder.path / MEASURED)])
        return Section("Where a step's time goes", words=words, code=code)
    total = sum(part.seconds for part in parts)
    rows = [
        (part.name, f"{1e3 * part.seconds:.2f} ms", f"{part.seconds / total:.1%}" if total else "") for part in parts
    ]
    words = "As adabatch measure has timed steps of the first batch."
    return Section("Where a step's time goes", Table(("", "time", "share"), rows, ("",)), words, shares=tuple(parts))


def _share(seconds: float, total: float) -> str:
    return f"{in_time(seconds)} ({seconds / total:.0%})" if total else ""


def about(run: Account) -> list[tuple[str, object]]:
    """Returns what a run is and where it ran, as names and values."""
    start, last = run.start, (run.of_kind("resume") or [run.start])[-1]
    versions = last.get("versions") or start.get("versions") or {}
    return [
        ("folder", run.folder.path),
        ("state", standing(run) if run.state != State.COMPLETE else "complete"),
        ("task", start["task"]),
        (
            "model",
            f"{start['model']}, {count(start['parameters'])} parameters" if "parameters" in start else start["model"],
        ),
        ("rule for the batch", start["policy"]),
        ("optimizer", start["optimizer"]),
        ("training set", f"{count(start['samples_per_epoch'])} samples"),
        ("epochs", f"{run.result['epochs']:.6g}" + (f" of {run.epochs:g}" if run.state != State.COMPLETE else "")),
        ("maximum batch", count(start.get("max_global_batch"))),
        ("largest micro-batch", _micro_batch(run)),
        ("ranks", f"{run.result['world_size']} on {run.result['nodes']} node(s)"),
        ("started by", start.get("launcher") if start.get("launcher") != "none" else "no launcher"),
        (
            "gradients summed by",
            {"none": "one process alone"}.get(str(run.result.get("engine")), run.result.get("engine")),
        ),
        ("device", last.get("device_name") or start.get("device_name") or start.get("device")),
        ("threads of a rank", start.get("threads")),
        ("restarts", len(run.of_kind("resume")) or None),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
    ]


def _micro_batch(run: Account) -> str | None:
    """Returns how many samples a pass may have in the end, and why; None where the number was given."""
    found = run.of_kind("micro_batch")[-1:]
    return f"{count(found[0]['max_micro_batch'])}: {found[0]['reason']}" if found else None


def what(run: Account) -> str:
    """Returns what a run is, in a line below its name."""
    start, ranks = run.start, run.result["world_size"]
    rule = f"{start['policy']} with {start['optimizer']}"
    where = f"{ranks} rank{'s' if ranks != 1 else ''}"
    return " · ".join(str(part) for part in (start["task"], start["model"], rule, where, run.folder.path))
