"""Cases: batches of the rules that follow a schedule or the loss, beside their papers'.

They are compared at the first step of each epoch: what the end of an epoch does to a batch is a case of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hpc_adabatch as hab

from .case import Case, Pair
from .equations import rules
from .problem import Problem, first_weights, flat, shaped
from .watch import watch

Sides = Callable[[hab.Cluster], Pair]
EPOCHS, LR = 7, 0.05


def planned(rule: Callable[[], hab.Policy], expected: list[tuple[int, float]], **how: Any) -> Sides:
    """Returns the sides of a case: batch and learning rate of the first step of each epoch."""

    def sides(cluster: hab.Cluster) -> Pair:
        run = watch(cluster, Problem(100), epochs=EPOCHS, micro=9, lr=LR, rule=rule, **how)
        found = zip(run.decided(lambda step: step.batch), run.decided(lambda step: step.lr / LR), strict=True)
        return [number for pair in expected for number in pair], [number for pair in found for number in pair]

    return sides


def every_sample(cluster: hab.Cluster) -> Pair:
    """Returns how often each sample of 4 epochs is due, and how often it came; batches change inside epochs."""
    rule = {"rule": lambda: hab.Schedule(text="0:7 30sa:19 130sa:4 201sa:32")}
    run = watch(cluster, Problem(61), batch=7, epochs=4, micro=5, restarts=(3, 9), **rule)
    counts = [0] * (4 * 61)
    for step in run.steps:
        for sample in step.samples:
            counts[61 * step.epoch + sample] += 1
    return [1] * len(counts), counts


def cut(cluster: hab.Cluster) -> Pair:
    """Returns the batches of an epoch of 35, 36 and 39 samples at B = 8, whose last steps share the rest."""
    found = [
        step.batch
        for samples in (35, 36, 39)
        for step in watch(cluster, Problem(samples), batch=8, micro=20, largest=8).steps
    ]
    return [*(8, 8, 8, 11), *(8, 8, 8, 12), *(8, 8, 8, 8, 7)], found


def plateau(cluster: hab.Cluster) -> Pair:
    """Returns the batch of each epoch, from the losses on the way that the oracle walks by itself."""
    rule = {"rule": lambda: hab.Plateau(factor=2, patience=2, threshold=0.05)}
    run = watch(cluster, Problem(100), batch=5, epochs=9, micro=9, lr=LR, restarts=(27,), **rule)
    weights = first_weights()
    x, losses = flat(weights), [0.0] * 9
    for step in run.steps:
        now = shaped(x, weights)
        losses[step.epoch] += run.problem.loss(now, step.samples) * step.batch / 100
        x = x - LR * run.problem.gradients(now)[step.samples].mean(0)
    expected = rules.plateau(losses, 5, factor=2, patience=2, threshold=0.05)
    return expected, run.decided(lambda step: step.batch)


ADABATCH, SMITH, SEESAW = "Devarakonda et al. 1712.02029", "Smith et al. 1711.00489", "Meterez et al. 2510.14717"
CASES = [
    Case(
        paper="property 2 of CONTRIBUTING",
        text="schedule, every sample once an epoch: batches 7, 19, 4, 32 inside epochs of 61, two restarts",
        run=every_sample,
        quick=True,
    ),
    Case(
        paper="ours: the end of an epoch",
        text="batches of 8 in epochs of 35, 36, 39 samples: up to 1.5 batches are one step, up to 2 are two halves",
        run=cut,
    ),
    Case(
        paper=f"{ADABATCH}, section 3",
        text="adabatch, batch and rate of each epoch: beta 1.5 rounded down, d 0.75, every 2 epochs; a restart",
        run=planned(
            lambda: hab.AdaBatch(factor=1.5, interval=2, lr_factor=0.75),
            rules.adabatch(EPOCHS, 7, beta=1.5, d=0.75, interval=2, largest=100),
            batch=7,
            restarts=(33,),
        ),
        quick=True,
    ),
    Case(
        paper=f"{ADABATCH}, the authors' code",
        text="the same, beta 2 cut at a batch of 50, warm-up over 2 epochs from a base batch of 5",
        run=planned(
            lambda: hab.AdaBatch(factor=2, interval=2, lr_factor=0.75, warmup_epochs=2, baseline_batch=5),
            rules.adabatch(EPOCHS, 10, beta=2, d=0.75, interval=2, largest=50, warmup=2, base=5),
            batch=10,
            largest=50,
        ),
    ),
    Case(
        paper=f"{SMITH}, section 3",
        text="smith, batch and rate of each epoch: decay 0.2 at epochs 2, 4, cut at a batch of 50",
        run=planned(
            lambda: hab.Smith(milestones=(2.0, 4.0), decay=0.2),
            rules.milestones(EPOCHS, 4, at=(2, 4), decay=0.2, power=1.0, largest=50),
            batch=4,
            largest=50,
        ),
        quick=True,
    ),
    Case(
        paper=SEESAW,
        text="seesaw, batch and rate of each epoch: decay 0.5 at epochs 1, 3, 5, cut at a batch of 25",
        run=planned(
            lambda: hab.Seesaw(milestones=(1.0, 3.0, 5.0), decay=0.5),
            rules.milestones(EPOCHS, 5, at=(1, 3, 5), decay=0.5, power=0.5, largest=25),
            batch=5,
            largest=25,
        ),
        quick=True,
    ),
    Case(
        paper="ours, after Smith et al. 1711.00489",
        text="plateau, batch of each epoch: doubled after 2 epochs whose loss fell by less than 5 %; a restart",
        run=plateau,
    ),
]
