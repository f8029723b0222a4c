"""Writes the page of an experiment: its claims, its table with all that the numbers depend on, and a picture."""

from __future__ import annotations

import argparse
import math
import statistics
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from cells import ROOT, Cell
from machine import trained
from outcome import Outcome, spread
from study import Found, Row, Study

ACROSS = {"wall_s": "wall time (s)", "updates": "updates"}
COLUMNS = ("best", "last", "updates", "times fewer", "final batch", "wall time, s", "diverged")


@dataclass
class Line:
    """A row of the table with its runs."""

    row: Row
    grid: dict[str, Cell]
    """Label -> run of the first seed; a single entry where nothing is tuned."""
    cells: list[Cell] = field(default_factory=list)
    """The runs of the row, one for each seed; empty while the grid is not complete."""
    chosen: str = ""
    """The label of the best run of the grid."""


def number(runs: Sequence[Outcome], name: str) -> str:
    """Returns mean ± standard deviation over the seeds as a text; accuracy in percent, other metrics as they are."""
    values = [getattr(run, name) for run in runs]
    if not all(map(math.isfinite, values)):
        return "not finite"
    accuracy = runs[0].metric == "accuracy"
    return spread([100 * value for value in values] if accuracy else values, 2)


def table_lines(lines: Sequence[Line], found: Found) -> list[str]:
    """Returns the lines of the table; a row without numbers shows the reason."""
    metric = next((runs[0].metric for runs in found.values()), "metric")
    unit = f"{metric}, %" if metric == "accuracy" else metric
    first = found.get(lines[0].row.name)
    updates = statistics.mean(run.updates for run in first) if first else None
    heads = [f"best test {unit}", f"last {unit}", *COLUMNS[2:]]
    made = [f"| row | what it is | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    for line in lines:
        runs = found.get(line.row.name)
        name = f"{line.row.name}{f' ({line.chosen})' if line.chosen else ''}"
        if runs is None:
            failures = [failure for cell in (*line.cells, *line.grid.values()) if (failure := cell.failure())]
            n_done = sum(cell.result() is not None for cell in line.cells)
            reason = failures[0] if failures else f"{n_done} of {len(line.cells)} runs done" if n_done else "not run"
            made.append(f"| {name} | {line.row.says} | {reason} |" + " |" * (len(heads) - 1))
            continue
        own = statistics.mean(run.updates for run in runs)
        cells = [
            *(number(runs, "best"), number(runs, "accuracy"), f"{own:.0f}"),
            f"{updates / own:.2f}" if updates else "",
            f"{statistics.mean(run.final_batch for run in runs):.0f}",
            spread([run.wall_s for run in runs], 1),
            f"{sum(run.diverged for run in runs)} of {len(runs)}",
        ]
        made.append(f"| {name} | {line.row.says} | {' | '.join(cells)} |")
    return made


def grid_lines(lines: Sequence[Line], read: Callable[[Cell], Outcome | None]) -> list[str]:
    """Returns a line for each tuned row, with all that was tried."""
    made = []
    for line in lines:
        if len(line.grid) > 1:
            done = {label: read(cell) for label, cell in line.grid.items()}
            parts = [f"{label}: {number([run], 'best') if run else 'not run'}" for label, run in done.items()]
            made.append(f"{line.row.name}, chosen on the first seed by its best test metric: {'; '.join(parts)}.")
    return made


def over_seeds(seeds: Sequence[int]) -> str:
    """Returns the sentence about the spread of the numbers."""
    if len(seeds) == 1:
        return f"One seed, {seeds[0]}, so there is no spread."
    return f"± is the standard deviation over seeds {', '.join(map(str, seeds))}."


def write_page(
    study: Study, lines: Sequence[Line], found: Found, read: Callable[[Cell], Outcome | None], flags: argparse.Namespace
) -> None:
    """Prints claims and table, and writes the page and the picture."""
    flags.write.mkdir(parents=True, exist_ok=True)
    path: Path = flags.write / f"{study.name}-{flags.setting}.md"
    claims = study.claims(found)
    cells = {id(cell): cell for line in lines for cell in (*line.cells, *line.grid.values())}.values()
    notes = [cell.known() for cell in cells if cell.result() is not None]
    data = {"images": " --images DIR", "text": " --text TRAIN,TEST"}.get(study.needs, "")
    setting = "" if flags.setting == "quick" else f" --setting {flags.setting}"
    setting += "" if flags.seeds == list(study.seeds) else f" --seeds {','.join(map(str, flags.seeds))}"
    recipe = yaml.safe_load((ROOT / "recipes" / study.recipe).read_text(encoding="utf-8"))
    table = table_lines(lines, found)
    page = [
        f"# {study.title}",
        "",
        f"    python benchmarks/reproduce {study.name}{data}{setting}",
        "",
        textwrap.fill(study.about, 120),
        "",
        "| claim | here | holds |",
        "|---|---|---|",
        *(f"| {claim.text} | {claim.numbers} | {'yes' if claim.holds else '**no**'} |" for claim in claims),
        "",
        *table,
        "",
        f"{over_seeds(flags.seeds)} Best: the best test value",
        "after any epoch; last: after the last epoch. Times fewer: updates of the first row divided by those of this",
        "row. A run diverged when a test loss was not finite, or at the end above that of guessing. Wall time:",
        "training, evaluations and checkpoints, without starting the ranks and reading the data.",
        *grid_lines(lines, read),
        "",
        f"![The metric over epochs and over {ACROSS[study.by]}]({path.with_suffix('.png').name})",
        "",
        *trained(notes, flags.ranks),
        "",
        f"recipes/{study.recipe}, and what the setting and each row add:",
        "",
        *(f"    {text}" for text in yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None).splitlines()),
        "",
        f"    {flags.setting}: {study.settings[flags.setting]}",
        *(f"    {line.row.name}: {line.row.flags} {line.row.grid.get(line.chosen, '')}".rstrip() for line in lines),
    ]
    text = "\n".join(page).replace(str(flags.out), "OUT").replace(f"{ROOT}/", "")
    path.write_text(text + "\n", encoding="utf-8")
    if found:
        draw(study, found, path.with_suffix(".png"))
    print(
        "\n".join(
            [*(f"{'yes' if claim.holds else 'NO '}  {claim.text}: {claim.numbers}" for claim in claims), "", *table]
        )
    )
    print(f"written to {path}")


def draw(study: Study, found: Found, path: Path) -> None:
    """Draws the metric over epochs, and over updates or time: mean and range over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 5.4), layout="constrained")
    for index, (name, runs) in enumerate(found.items()):
        colour = pyplot.get_cmap("tab10" if len(found) <= 10 else "tab20")(index)
        for axes, by in zip(panels, ("epoch", study.by), strict=True):
            columns = list(zip(*(run.curve for run in runs), strict=False))
            across = [statistics.mean(getattr(point, by) for point in column) for column in columns]
            values = [[point.value for point in column] for column in columns]
            axes.plot(across, [statistics.mean(column) for column in values], color=colour, label=name)
            low, high = [min(column) for column in values], [max(column) for column in values]
            axes.fill_between(across, low, high, color=colour, alpha=0.15, linewidth=0)
    metric = next(iter(found.values()))[0].metric
    for axes, by in zip(panels, ("epoch", study.by), strict=True):
        axes.set(xlabel=ACROSS.get(by, by), ylabel=f"test {metric}")
        axes.grid(alpha=0.3)
        if metric == "perplexity":
            axes.set_yscale("log")
    if study.by == "updates":
        panels[1].set_xscale("log")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
