"""A recipe foretold: its batches, passes, learning rates, updates, memory and hours.

The plan, the rule and the schedule are those of the run; only the gradients are missing. So a forecast is exact for
rules that follow the clock, and impossible for rules that follow the gradients.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from ..batches.micro_batch import passes_and_micro_batch
from ..batches.plan import steps_per_epoch
from ..cluster import SingleProcess
from ..errors import require
from ..learning_rate import Course
from ..policies import Progress
from ..recipe import Recipe
from ..tasks import TaskData
from ..terminal import display, number, table
from ..training.coordinator import Coordinator
from .hours import seconds_per_step


@dataclass
class Phase:
    """A stretch of training with one global batch."""

    epoch: float
    """The epoch in which it begins."""
    global_batch: int
    """The samples of a step, over all ranks."""
    passes: int
    """The passes of the fullest rank in a step."""
    micro_batch: int
    """The samples of such a pass."""
    first_rate: float
    """The learning rate of its first step."""
    last_rate: float
    """The learning rate of its last step."""
    weight_decay: float
    """The weight decay of its first step."""
    updates: int = 0
    """The steps in it."""
    ends: dict[int, list[int]] = field(default_factory=dict)
    """The samples of the last steps of each epoch that leaves a rest, which those steps share."""


def phases(recipe: Recipe, data: TaskData, n_ranks: int) -> Iterator[Phase]:
    """Yields the stretches of a run in order."""
    batches = recipe.batches(data)
    couples = recipe.policy.couples_rate
    course = Course(recipe.schedule, batches.plan.n_samples, batches.global_batch, couples=couples)
    plan, global_batch, factor = batches.plan, batches.global_batch, 1.0
    coordinator = Coordinator(SingleProcess(), recipe.policy)

    def progress() -> Progress:
        return Progress(
            samples_seen=plan.samples_seen,
            samples_per_epoch=plan.n_samples,
            start_batch=batches.global_batch,
            global_batch=global_batch,
            max_global_batch=batches.max_global_batch,
            learning_rate_factor=factor,
            n_ranks=n_ranks,
        )

    coordinator.start(progress())
    phase: Phase | None = None
    while not course.reached(recipe.options.epochs):
        decision = coordinator.decide(progress())
        if decision is not None:
            course.resize(global_batch, decision.global_batch)
            global_batch, factor = decision.global_batch, decision.learning_rate_factor
        if plan.epoch_finished:
            plan.next_epoch()
        rate = recipe.optimizer.lr * course.multiplier(global_batch) * factor
        if phase is None or phase.global_batch != global_batch:
            if phase is not None:
                yield phase
            passes, micro_batch = passes_and_micro_batch(global_batch, n_ranks, batches.max_micro_batch)
            decay = recipe.optimizer.weight_decay * course.weight_decay_multiplier(global_batch)
            epoch = plan.samples_seen / plan.n_samples
            phase = Phase(epoch, global_batch, passes, micro_batch, rate, rate, decay)
        phase.last_rate, phase.updates = rate, phase.updates + 1
        batch = plan.cut(global_batch)
        if len(batch) != global_batch:
            phase.ends.setdefault(plan.epoch, []).append(len(batch))
        plan.advance(batch)
        course.advance(len(batch), min(len(batch), global_batch))
    if phase is not None:
        yield phase


def preview(recipe: Recipe, n_ranks: int, *, measure: bool) -> None:
    """Prints the plan of a recipe.

    Args:
        recipe: The recipe.
        n_ranks: The ranks that will train.
        measure: True to make some steps of each size here, for hours and memory.

    Raises:
        InputError: The recipe does not fit its data, or the number of ranks is not positive.
    """
    require(n_ranks >= 1, "ranks", n_ranks, "1 or more", "--ranks 4")
    recipe.task.fetch()
    data = recipe.task.load()
    recipe.batches(data).check_ranks(n_ranks)
    model = recipe.task.model(recipe.model_name, data)
    if not recipe.policy.foreseeable:
        display(f"{recipe.chosen['policy']} follows the gradients: its batches cannot be known before the run")
        return
    rows = list(phases(recipe, data, n_ranks))
    seconds = seconds_per_step(recipe, data, {(row.passes, row.micro_batch) for row in rows}) if measure else {}

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
    if any(row.ends for row in rows):
        columns["last steps\nof an epoch"] = lambda row: " + ".join(map(str, next(iter(row.ends.values()), [])))
    if measure:
        columns["hours"] = lambda row: number(hours(row)[0])
    display(table(columns, ([cell(row) for cell in columns.values()] for row in rows)))
    n_samples, updates = recipe.batches(data).plan.n_samples, sum(row.updates for row in rows)
    fixed = steps_per_epoch(n_samples, recipe.global_batch) * recipe.options.epochs
    parameters = list(model.parameters())
    instead = f"{fixed} with the batch fixed at {recipe.global_batch}"
    display(f"{updates} updates over {recipe.options.epochs} epochs of {n_samples} samples; {instead}")
    megabytes = (2 + recipe.optimizer.kept) * sum(parameter.nbytes for parameter in parameters) / 1e6
    count = sum(parameter.numel() for parameter in parameters)
    display(f"{count:,} parameters: {number(megabytes)} MB of weights, gradients and optimizer state on each rank")
    if measure:
        value, low, high = map(sum, zip(*map(hours, rows), strict=True))
        display(f"{number(value)} hours of steps, {number(low)} to {number(high)} by the scatter of those made here")
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


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
