"""Writes the runs of rules.py as a table in Markdown and a picture, with everything that the numbers depend on."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cells import ROOT, Cell
from machine import trained
from outcome import Outcome, Record, outcome, summary, to_target

COLUMNS = (
    *("accuracy", "best", "updates", "times fewer", "final batch"),
    *("wall time, s", "s to target", "updates to target", "samples to target", "largest growth", "turns", "diverged"),
)
BELOW = 0.02  # of the accuracy of fixed_small: the target
MEANING = (
    "Accuracy: on the test set after the last epoch; best: the highest after any epoch. Times fewer: updates of",
    "fixed_small divided by those of the rule. Largest growth: the largest factor of one change of the batch, over",
    "all seeds. Turns: how often the batch shrank after it had grown, or grew after it had shrunk. Diverged: a test",
    "loss was not finite, or at the end above that of guessing. Wall time: training, evaluations and checkpoints,",
    "without starting the ranks and reading the data. To the target: by straight lines between the evaluations after",
    "each epoch, from 0 at the start.",
)


@dataclass
class Row:
    """A rule with its runs, one for each seed."""

    name: str
    cells: list[Cell]
    missing: str | None = None
    """The reason why the rule cannot be run."""
    note: str = ""
    """A text behind the name."""


def outcomes(cells: Sequence[Cell]) -> list[Outcome]:
    """Returns the numbers of the runs that are complete."""
    return [outcome(result, cell.records()) for cell in cells if (result := cell.result()) is not None]


def target(rows: Sequence[Row]) -> float | None:
    """Returns the target: the first row's best accuracy (mean over seeds) less two points, rounded down to points."""
    small = outcomes(rows[0].cells)
    return math.floor(100 * (statistics.mean(one.best for one in small) - BELOW)) / 100 if small else None


def table_lines(rows: Sequence[Row]) -> list[str]:
    """Returns the table's lines; a row without numbers shows the reason, updates are compared with the first row."""
    small = outcomes(rows[0].cells)
    fixed_updates = statistics.mean(one.updates for one in small) if small else None
    wanted = target(rows)
    lines = [f"| rule | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for row in rows:
        found, failures = outcomes(row.cells), [failure for cell in row.cells if (failure := cell.failure())]
        reason = row.missing or (f"failed: {failures[0]}" if failures else "not run")
        shown = summary(found, fixed_updates) if found else {"accuracy": reason}
        if found and wanted is not None:
            shown |= to_target(found, wanted)
        if found and len(found) < len(row.cells):
            shown["accuracy"] += f" ({len(found)} of {len(row.cells)} seeds; others: {reason})"
        numbers = [shown.get(column, "").replace("|", "\\|") for column in COLUMNS]
        lines.append(f"| {' | '.join([f'{row.name} {row.note}'.strip(), *numbers])} |")
    return lines


def grid_line(cell: Cell) -> str:
    """Returns the text about a run of the grid from which the tuned row was chosen."""
    found = outcomes([cell])
    return f"{cell.name} {found[0].accuracy:.4f}" if found else f"{cell.name} {cell.failure() or 'not run'}"


def document(rows: Sequence[Row], grid: Sequence[Cell], recipe: Record, flags: argparse.Namespace) -> str:
    """Returns the page: the table, and everything that its numbers depend on."""
    wanted, cells = target(rows), [*(cell for row in rows for cell in row.cells), *grid]
    notes = [cell.known() for cell in cells if cell.result() is not None]
    shown = yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None, width=110).splitlines()
    favoured = "by its accuracy on the test set, which favours that row"
    lines = [
        f"# Rules for the batch beside fixed batches: {flags.task}",
        "",
        f"    {command(flags)}",
        "",
        *trained(notes, flags.ranks),
        "",
        *table_lines(rows),
        "",
        f"± is the standard deviation over seeds {', '.join(map(str, flags.seeds))}.",
        *MEANING,
        f"The target: {wanted:.2f}, two points below the best of fixed_small, rounded down." if wanted else "",
        f"The learning rate of fixed_large_tuned was chosen on seed {flags.seeds[0]}, {favoured}:",
        f"{', '.join(map(grid_line, grid))}.",
        "",
        f"![Batch over epochs, accuracy over updates]({flags.write.with_suffix('.png').name})",
        "",
        "The recipe; what each rule adds to it stands in benchmarks/rules.py:",
        "",
        *(f"    {text}" for text in shown),
    ]
    return "\n".join(lines).replace(str(flags.out), "OUT").replace(f"{ROOT}/", "") + "\n"


def command(flags: argparse.Namespace) -> str:
    """Returns the command that repeats the table, without the folders of this machine."""
    seeds = ",".join(map(str, flags.seeds))
    images = " --images DIR" if flags.task == "cifar" else ""
    write = flags.write if not flags.write.is_absolute() else flags.write.name
    ranks = f" --ranks {flags.ranks}"
    return f"python benchmarks/rules.py --task {flags.task}{images} --seeds {seeds}{ranks} --write {write}"


def draw(found: Sequence[tuple[str, list[Outcome]]], path: Path) -> None:
    """Draws the first seed's batch over epochs, and the accuracy over updates and over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (batch, score, course) = pyplot.subplots(1, 3, figsize=(14, 6), layout="constrained")
    for number, (name, runs) in enumerate(found):
        colour, marker = pyplot.get_cmap("tab20")(number % 20), "osD^v"[number % 5]
        epochs, sizes = zip(*runs[0].batches, strict=True)
        batch.plot(epochs, sizes, drawstyle="steps-post", color=colour, marker=marker, markersize=4, alpha=0.8)
        updates, accuracies = [run.updates for run in runs], [run.accuracy for run in runs]
        columns = list(zip(*(run.curve for run in runs), strict=False))
        seconds = [statistics.mean(point.wall_s for point in column) for column in columns]
        values = [statistics.mean(point.value for point in column) for column in columns]
        course.plot(seconds, values, color=colour, marker=marker, markersize=3, alpha=0.8)
        middle, error = statistics.mean(accuracies), statistics.stdev(accuracies) if len(runs) > 1 else 0.0
        score.errorbar(statistics.mean(updates), middle, yerr=error, fmt=marker, color=colour, label=name)
    batch.set(xlabel="epoch", ylabel="global batch (samples), first seed")
    score.set(xlabel="updates", ylabel="test accuracy, mean ± standard deviation over seeds")
    course.set(xlabel="wall time (s)", ylabel="test accuracy, mean over seeds")
    batch.set_yscale("log", base=2)
    score.set_xscale("log", base=2)
    batch.yaxis.set_major_formatter("{x:.0f}")
    score.xaxis.set_major_formatter("{x:.0f}")
    for axes in (batch, score, course):
        axes.grid(alpha=0.3)
    figure.legend(*score.get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize="small")
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def write_table(rows: Sequence[Row], grid: Sequence[Cell], recipe: Record, flags: argparse.Namespace) -> None:
    """Prints the table; with ``--write``, writes the page and the picture beside it."""
    print("\n".join(table_lines(rows)))
    if flags.write is not None:
        flags.write.parent.mkdir(parents=True, exist_ok=True)
        flags.write.write_text(document(rows, grid, recipe, flags), encoding="utf-8")
        found = [(row.name, outcomes(row.cells)) for row in rows]
        draw([(name, runs) for name, runs in found if runs], flags.write.with_suffix(".png"))
        print(f"written to {flags.write}")
