"""Cases: the learning rate and the weight decay of every step, beside the closed forms.

e counts epochs by samples seen, k is batch / reference batch. Every batch here divides the epoch of 60 samples, but in
the cases that say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

import hpc_adabatch as hab

from .case import Case, Pair
from .equations import noise, rates
from .problem import Problem, first_weights, flat, shaped
from .watch import Run, Taken, watch

Sides = Callable[[hab.Cluster], Pair]
LR = 0.01


def placed(run: Run) -> Iterator[tuple[float, Taken]]:
    """Yields each step with the epochs that were over before it."""
    cursor = 0
    for taken in run.steps:
        yield cursor / run.problem.samples, taken
        cursor += taken.batch


def rate(
    of: Callable[[float, int], float],
    *,
    batch: int,
    schedule: str = "",
    preset: str = "",
    decay_of_weights: float = 0.0,
    restarts: tuple[int, ...] = (),
    spoiled: tuple[int, ...] = (),
    **fields: Any,
) -> Sides:
    """Returns the sides of a case: the learning rate of every step over 8 epochs; or the weight decay, if there is one.

    Args:
        of: the oracle, a function of epoch and batch.
        batch: the batch at step 0.
        schedule: batches, written down; one batch when empty.
        preset: a published set of fields.
        decay_of_weights: the base weight decay.
        restarts: steps after which the run is restored.
        spoiled: steps that are skipped.
        fields: fields of ``LearningRate``.
    """

    def build(model: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=LR, weight_decay=decay_of_weights)

    def sides(cluster: hab.Cluster) -> Pair:
        run = watch(
            cluster,
            Problem(60),
            batch=batch,
            epochs=8,
            micro=20,
            optimizer=build,
            rule=(lambda: hab.Schedule(text=schedule)) if schedule else hab.Fixed,
            rate=hab.LearningRate.from_preset(preset, **fields) if preset else hab.LearningRate(**fields),
            restarts=restarts,
            spoiled=spoiled,
        )
        base, name = (decay_of_weights, "decay") if decay_of_weights else (LR, "lr")
        return [base * of(e, taken.batch) for e, taken in placed(run)], [getattr(taken, name) for taken in run.steps]

    return sides


def climb(e: float, _: int) -> float:
    """Returns LEGW's warm-up with w0 = 1 where k grows from 1 to 4 at epoch 0.6: a line from there to sqrt(4)."""
    return rates.legw(e, 1, 1.0) if e < 0.6 else min(2.0, 0.6 + (2.0 - 0.6) * (e - 0.6) / (4.0 - 0.6))


def shrunk(cluster: hab.Cluster) -> Pair:
    """Returns the factor by which the rate may jump where a batch shrinks on the climb, and the one by which it does.

    Both runs are at epoch 1 of a warm-up that ends at epoch 4 at the earliest, and one of them shrinks from 8 to 6.
    """
    rate = hab.LearningRate(scaling="sqrt", warmup="legw", warmup_epochs=1.0)
    stays, shrinks = (
        watch(cluster, Problem(96), batch=2, epochs=2, rate=rate, rule=lambda text=text: hab.Schedule(text=text))
        for text in ("0:2 48sa:8", "0:2 48sa:8 96sa:6")
    )
    jump = shrinks.firsts()[1].lr / stays.firsts()[1].lr
    return min(max(jump, math.sqrt(6 / 8)), 1.0), jump


def auto(cluster: hab.Cluster) -> Pair:
    """Returns every learning rate of a warm-up that ends by its losses, over 20 epochs; a restart between its votes."""
    run = watch(
        cluster,
        Problem(60),
        batch=12,
        epochs=20,
        micro=5,
        optimizer=lambda model: hab.LAMB(model.parameters(), lr=1000.0),
        rate=hab.LearningRate(warmup="auto", decay="cosine", epochs=20),
        restarts=(32,),
    )
    expected: list[float] = []
    seen: list[tuple[float, float]] = []  # epoch, loss of each step
    votes, ended = 0, None
    for e, taken in placed(run):
        if ended is None and seen and (e == round(e) and taken.epoch > 0):
            votes, ended = judged(seen, e, votes)
        expected.append(1000.0 * (ended[1] * rates.cosine(e, ended[0], 20) if ended else rates.rise(e, 10)))
        seen.append((e, taken.loss))
    return expected, [taken.lr for taken in run.steps]


def judged(seen: list[tuple[float, float]], e: float, votes: int) -> tuple[int, tuple[float, float] | None]:
    """Returns the votes in a row at epoch e, and the end of the warm-up with the rate to go back to, or None."""
    epochs, losses = zip(*seen, strict=True)
    if len(losses) < 10:
        return 0, None
    first = sum(losses[:5]) / 5  # of the first epoch; what is far above counts as much above as the least is below
    behind, place = rates.valley(
        [one / epochs[-1] for one in epochs], [min(one, 2 * first - min(losses)) for one in losses]
    )
    votes = votes + 1 if behind > 0.95 else 0
    if votes == 3:
        return votes, (e, rates.rise(place * epochs[-1], 10))
    return votes, (e, 1.0) if e >= 10 else None


def adascale(*, until_full: bool = False, **how: Any) -> Sides:
    """Returns the sides of a case: the number of steps and every learning rate, at 4 times AdaScale's reference batch.

    Args:
        until_full: trains until the scale-invariant clock is full, as a script does; else for 4 passes over the data.
        how: what else ``watch`` takes.
    """
    rate = hab.LearningRate(scaling="adascale", reference_batch=3, decay="cosine", epochs=4.0)

    def sides(cluster: hab.Cluster) -> Pair:
        run = watch(
            cluster, Problem(60), batch=12, micro=3, lr=LR, rate=rate, epochs=4, clock=4 if until_full else None, **how
        )
        weights = first_weights()
        x, expected, clock, r = flat(weights), [], 0.0, 1.0
        past: list[tuple[float, float]] = []  # variance, signal of each step
        for taken in run.steps:
            if until_full and clock >= 4 * 60:
                break
            expected.append(LR * r * rates.cosine(clock / 60, 0, 4))
            if taken.skipped:  # no progress
                continue
            clock += 3 * r  # what r steps of the reference batch would make
            pieces = run.problem.pieces(shaped(x, weights), taken.pieces)
            x = x - expected[-1] * noise.mean(pieces)
            past.append((noise.variance(pieces), noise.signal(pieces, 60)))
            if len(past) > 1:  # averages are ours: they fade over ten measurements, a window that is shorter otherwise
                ages = range(len(past))[::-1]
                variance, signal = (noise.faded([one[n] for one in past], ages, 10) for n in (0, 1))
                r = rates.gain(variance, signal, 4, 3, 60)
        steps = len(expected) if clock >= 4 * 60 or not until_full else math.inf  # the clock is not full
        return [steps, *expected], [len(run.steps), *(taken.lr for taken in run.steps)]

    return sides


YOU, GOYAL, JOHNSON = "You et al. 1901.08256", "Goyal et al. 1706.02677", "Johnson et al. 2007.05105, sections 3, 4"
KIM = "Kim et al. 2107.05855, and the authors' code"
BERGSMA, OURS = "Bergsma et al. 2505.13738", "ours (learning_rate/warmup.py)"
GROWS = "0:6 120sa:12 240sa:20"
CASES = [
    Case(
        paper=f"{GOYAL}, section 2.1",
        text="linear scaling, learning rate k: B = 6, 12, 20 at reference batch 3",
        run=rate(lambda _, batch: batch / 3, batch=6, schedule=GROWS, scaling="linear", reference_batch=3),
        quick=True,
    ),
    Case(
        paper=f"{GOYAL}, sections 2.2 and 5.1",
        text="preset goyal at k = 4, steps of 0.1 at epochs 6 and 7: from 1 to k over 5 epochs",
        run=rate(
            lambda e, _: rates.goyal(e, 4) * rates.step(e, (6, 7), 0.1),
            batch=12,
            preset="goyal",
            reference_batch=3,
            decay="step",
            milestones=(6.0, 7.0),
        ),
    ),
    Case(
        paper=f"{YOU}, section 3",
        text="legw at k = 4: sqrt(k) after w0 k epochs, w0 = 0.5; a restart in the warm-up",
        run=rate(
            lambda e, _: rates.legw(e, 4, 0.5),
            batch=12,
            scaling="sqrt",
            warmup="legw",
            warmup_epochs=0.5,
            reference_batch=3,
            restarts=(3,),
        ),
        quick=True,
    ),
    Case(
        paper="You et al. 1708.03888, section 6",
        text="poly of power 2 after LEGW at k = 4; the paper decays from step 0, ours from the end of the warm-up",
        run=rate(
            lambda e, _: rates.legw(e, 4, 0.5) * rates.poly(e, 2, 8),
            batch=12,
            scaling="sqrt",
            warmup="legw",
            warmup_epochs=0.5,
            reference_batch=3,
            decay="poly",
            epochs=8.0,
        ),
    ),
    Case(
        paper="Loshchilov & Hutter 1608.03983, eq. 5",
        text="cosine to 0.1 over 8 epochs; B = 6, 12, 20, sqrt scaling",
        run=rate(
            lambda e, batch: math.sqrt(batch / 6) * rates.cosine(e, 0, 8, 0.1),
            batch=6,
            schedule=GROWS,
            scaling="sqrt",
            decay="cosine",
            final=0.1,
            epochs=8.0,
        ),
        quick=True,
    ),
    Case(
        paper="ours: samples count, not steps",
        text="cosine over 8 epochs of 60 samples: B = 22, each epoch ends with a rest",
        run=rate(lambda e, _: rates.cosine(e, 0, 8), batch=22, decay="cosine", epochs=8.0),
    ),
    Case(
        paper="ours: a skipped step's samples are seen",
        text="the same, steps 3 and 5 are skipped",
        run=rate(lambda e, _: rates.cosine(e, 0, 8), batch=22, decay="cosine", epochs=8.0, spoiled=(2, 4)),
    ),
    Case(
        paper=KIM,
        text="auto over 20 epochs: rise, votes at epochs' ends, the rate gone back to, cosine; a restart between votes",
        run=auto,
        tolerance=1e-6,
        quick=True,
    ),
    Case(
        paper=OURS,
        text="LEGW whose batch grows from 6 to 24 in the warm-up: a line to the larger peak; a restart on it",
        run=rate(
            climb,
            batch=6,
            schedule="0:6 36sa:24",
            scaling="sqrt",
            warmup="legw",
            warmup_epochs=1.0,
            reference_batch=6,
            restarts=(7,),
        ),
    ),
    Case(
        paper=OURS,
        text="LEGW whose batch shrinks from 8 to 6 in the warm-up: no jump above 1 nor below sqrt(6/8)",
        run=shrunk,
    ),
    Case(
        paper=BERGSMA,
        text="weight decay per epoch: lambda k / sqrt(k) where the rate goes with sqrt(k)",
        run=rate(
            lambda _, batch: math.sqrt(batch / 6),
            batch=6,
            schedule=GROWS,
            scaling="sqrt",
            weight_decay="per_epoch",
            decay_of_weights=0.01,
        ),
        quick=True,
    ),
    Case(
        paper=JOHNSON,
        text="adascale, steps and learning rates r_t lr(tau) of 4 passes at S = 4, cosine; averages as ours",
        run=adascale(),
    ),
    Case(
        paper=JOHNSON,
        text="the same; step 7 is skipped, a restart after step 11",
        run=adascale(spoiled=(6,), restarts=(10,)),
    ),
    Case(
        paper=JOHNSON,
        text="adascale, steps and learning rates until tau is full: 4 epochs at the reference batch",
        run=adascale(until_full=True),
    ),
]
