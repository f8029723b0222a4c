"""A recipe foretold: its batches, passes, learning rates and updates.

The plan, the rule and the schedule are those of the run; only the gradients are missing. So a forecast is exact for
rules that follow the clock, and impossible for rules that follow the gradients. AdaScale's gain follows them too, but
lies between two bounds: both are foretold. The journal of a run brings what its gradients decided. A warm-up that ends
by its losses is foretold at its longest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..batches.micro_batch import passes_and_micro_batch
from ..batches.plan import rated
from ..cluster import SingleProcess
from ..errors import reading, require
from ..learning_rate import Course
from ..policies import Progress
from ..recipe import Recipe
from ..tasks import TaskData
from ..training.coordinator import Coordinator, Decision
from ..training.journal import Record

Noise = Callable[[int], tuple[float, float] | None]
"""The gradient's variance and signal by the samples seen; None until they are known."""


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
    samples: int = 0
    """The samples of these steps."""


def phases(recipe: Recipe, data: TaskData, n_ranks: int, noise: Noise | None = None) -> Iterator[Phase]:
    """Yields the stretches of a run in order.

    Args:
        recipe: The recipe.
        data: Its data.
        n_ranks: The ranks that will train.
        noise: The noise of which AdaScale makes its gain; that which the rule brings when not given, else none.
    """
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

    def decided() -> Decision | None:
        look = course.look if course.looks(epoch_finished=plan.epoch_finished) else None
        return coordinator.decide(progress(), holds=course.holds, look=look)

    coordinator.start(progress())
    phase: Phase | None = None
    while not course.reached(recipe.options.epochs):
        while (decision := decided()) is not None:
            if decision.height is not None:
                course.end_warmup(decision.height)
            course.resize(global_batch, decision.global_batch)
            global_batch, factor = decision.global_batch, decision.learning_rate_factor
            course.noise = decision.noise
            if decision.height is None:  # else the batch is free from here on
                break
        if noise is not None:
            course.noise = noise(plan.samples_seen)
        if plan.epoch_finished:
            plan.next_epoch()
        batch = plan.cut(global_batch)
        rate_of = rated(len(batch), global_batch)
        rate = recipe.optimizer.lr * course.multiplier(rate_of) * factor
        if phase is None or phase.global_batch != global_batch:
            if phase is not None:
                yield phase
            passes, micro_batch = passes_and_micro_batch(global_batch, n_ranks, batches.max_micro_batch)
            decay = recipe.optimizer.weight_decay * course.weight_decay_multiplier(global_batch)
            epoch = plan.samples_seen / plan.n_samples
            phase = Phase(epoch, global_batch, passes, micro_batch, rate, rate, decay)
        phase.last_rate, phase.updates = rate, phase.updates + 1
        if len(batch) != global_batch:
            phase.ends.setdefault(plan.epoch, []).append(len(batch))
        plan.advance(batch)
        phase.samples += len(batch)
        course.advance(len(batch), rate_of)
    if phase is not None:
        yield phase


def forecasts(recipe: Recipe, data: TaskData, n_ranks: int, run: list[Record] | None) -> dict[str, list[Phase]]:
    """Returns the stretches of a run; with AdaScale under each of two titles, between which the run will lie.

    Args:
        recipe: The recipe, whose batches are foreseeable.
        data: Its data.
        n_ranks: The ranks that will train.
        run: The journal of a run that measured the noise; None where there is none.

    Raises:
        InputError: The run did not measure its noise.
    """
    if run is not None and recipe.schedule.measures:
        return {"": list(phases(recipe, data, n_ranks, measured_noise(run)))}
    if not recipe.schedule.measures or recipe.policy.brings_noise:
        return {"": list(phases(recipe, data, n_ranks))}
    reference = recipe.schedule.reference_batch or recipe.global_batch
    bounds = {
        "where the gradient has no noise: gain 1": (0.0, 1.0),
        f"where it is noise alone: gain = batch / {reference}": (1.0, 0.0),
    }
    found = {title: list(phases(recipe, data, n_ranks, _always(*noise))) for title, noise in bounds.items()}
    one, other = found.values()
    return {"": one} if one == other else found


def _always(variance: float, signal: float) -> Noise:
    return lambda _: (variance, signal)


def measured_noise(records: list[Record]) -> Noise:
    """Returns the noise by which a run went, or would have gone with AdaScale, from its journal.

    Raises:
        InputError: The run did not measure it.
    """
    allowed, example = "the folder of a run that measured its noise", "adabatch train RECIPE --policy noise_scale"
    known: dict[int, tuple[float, float]] = {}
    with reading("from_run", "a run", allowed, example):
        for record in records:
            variance, signal = record.get("noise") or (record.get("variance"), record.get("signal"))
            if variance is not None and signal is not None:
                known[int(record["cursor"])] = float(variance), float(signal)
    require(bool(known), "from_run", "a run without noise", allowed, example)
    cursors = sorted(known)

    def noise(samples_seen: int) -> tuple[float, float] | None:
        place = bisect_right(cursors, samples_seen)
        return known[cursors[place - 1]] if place else None

    return noise
