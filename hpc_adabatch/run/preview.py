"""The plan of a recipe, printed: its forecast (forecast.py), hours (hours.py) and memory."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from ..batches.plan import steps_per_epoch
from ..errors import reading, require
from ..policies import Recorded
from ..recipe import Recipe
from ..terminal import display, number, table
from ..training.journal import Record, read
from .folder import RunFolder
from .forecast import Phase, forecasts
from .hours import seconds_per_step


def preview(recipe: Recipe, n_ranks: int, *, measure: bool, from_run: str | None = None) -> None:
    """Prints the plan of a recipe.

    Args:
        recipe: The recipe.
        n_ranks: The ranks that will train.
        measure: True to make some steps of each size here, for hours and memory.
        from_run: The folder of a run, whose journal has what its gradients decided; None where there is none.

    Raises:
        InputError: The recipe does not fit its data, the number of ranks is not positive, or the run cannot be used.
    """
    require(n_ranks >= 1, "ranks", n_ranks, "1 or more", "--ranks 4")
    recipe.task.fetch()
    data = recipe.task.load()
    recipe.batches(data).check_ranks(n_ranks)
    model = recipe.network(data)
    run = _journal(recipe, from_run) if from_run is not None else None
    if recipe.schedule.warmup == "auto":
        display(recipe.rise())
    if recipe.options.max_micro_batch == "auto":
        most = recipe.global_batch
        display(f"max_micro_batch auto is found when the run begins; the plan is for passes of at most {most}")
    if not recipe.policy.foreseeable:
        if run is None:
            display(f"{recipe.chosen['policy']} follows the gradients: its batches cannot be known before the run")
            if recipe.schedule.scale_invariant:
                display(recipe.length(recipe.batches(data)))
            return
        recipe = replace(recipe, policy=Recorded(run, source=str(from_run)))
    cases = forecasts(recipe, data, n_ranks, run)
    sizes = {(row.passes, row.micro_batch) for rows in cases.values() for row in rows}
    seconds = seconds_per_step(recipe, data, sizes) if measure else {}

    def hours(row: Phase) -> tuple[float, ...]:
        return tuple(row.updates * end / 3600 for end in seconds[row.passes, row.micro_batch])

    columns: dict[str, Callable[[Phase], str]] = {
        "from\nepoch": lambda row: f"{row.epoch:g}",
        "global\nbatch": lambda row: str(row.global_batch),
        f"passes x\nmicro-batch\non {n_ranks} rank(s)": lambda row: f"{row.passes} x {row.micro_batch}",
        "learning\nrate": lambda row: " to ".join(dict.fromkeys((f"{row.first_rate:.4g}", f"{row.last_rate:.4g}"))),
        "updates": lambda row: str(row.updates),
    }
    if recipe.schedule.weight_decay == "per_epoch":
        columns["weight\ndecay"] = lambda row: f"{row.weight_decay:.4g}"
    if any(row.ends for rows in cases.values() for row in rows):
        columns["last steps\nof an epoch"] = lambda row: " + ".join(map(str, next(iter(row.ends.values()), [])))
    if measure:
        columns["hours"] = lambda row: number(hours(row)[0])
    n_samples = recipe.batches(data).plan.n_samples
    fixed = steps_per_epoch(n_samples, recipe.reference_batch) * recipe.options.epochs
    instead = f"{fixed} with the batch fixed at {recipe.reference_batch}"
    if recipe.schedule.warmup == "auto":
        display("below is the run whose losses fall to the end of the longest warm-up")
    if len(cases) > 1:
        display("AdaScale measures its gain in the run, which lies between these two; --from_run RUN brings the noise")
    for title, rows in cases.items():
        display(table(columns, ([cell(row) for cell in columns.values()] for row in rows), title=title or None))
        updates, epochs = sum(row.updates for row in rows), sum(row.samples for row in rows) / n_samples
        display(f"{updates} updates over {epochs:.6g} epochs of {n_samples} samples; {instead}")
        if measure:
            value, low, high = map(sum, zip(*map(hours, rows), strict=True))
            display(
                f"{number(value)} hours of steps, {number(low)} to {number(high)} by the scatter of those made here"
            )
    parameters = list(model.parameters())
    megabytes = (2 + recipe.optimizer.kept) * sum(parameter.nbytes for parameter in parameters) / 1e6
    count = sum(parameter.numel() for parameter in parameters)
    display(f"{count:,} parameters: {number(megabytes)} MB of weights, gradients and optimizer state on each rank")
    if measure:
        display(f"on top: {', '.join(_on_top(recipe, n_ranks))}; another machine or load is not in the interval")
        display(f"{_peak_bytes() / 1e6:.0f} MB at most in this process, with the largest micro-batch")
    else:
        display("--measure true times some steps here, for hours and memory")


def _on_top(recipe: Recipe, n_ranks: int) -> Iterator[str]:
    """Yields what takes time besides steps that one rank makes alone."""
    if n_ranks > 1:
        yield "communication"
    if recipe.optimizer.step_size() is not None:
        yield "the search for step sizes"
    if recipe.schedule.measures:
        yield "measuring"
    yield "evaluation and checkpoints"


def _journal(recipe: Recipe, folder: str) -> list[Record]:
    """Returns the journal of a run that this recipe can go by."""
    needed = recipe.schedule.measures or not recipe.policy.foreseeable
    allowed = "nothing, as neither batches nor rates follow the gradients; or with --nodes"
    require(needed, "from_run", folder, allowed, "the plan without --from_run")
    with reading("from_run", folder, "the folder of a run", "--from_run runs/NAME"):
        return read(RunFolder(Path(folder)).journal)


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
