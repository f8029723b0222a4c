"""Cases: the batches that rules want from what they measure, beside their papers' formulas.

A rule is asked after a run on these ranks which batch it wants: that is the paper's formula, before the bounds of one
change (policies/measured.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import hpc_adabatch as hab

from .case import Case, Pair
from .equations import noise, rules
from .noise import FOREVER, at_rest, gradients, kept
from .problem import Problem, first_weights
from .watch import Run

Sides = Callable[[hab.Cluster], Pair]
LR = 0.05


class Known:
    """What the oracle knows of a run whose weights stay, from the gradients of all samples.

    Args:
        run: the run.
        ranks: number of ranks.
    """

    def __init__(self, run: Run, ranks: int) -> None:
        steps = [gradients(run, step.pieces) for step in run.steps]
        self.variance = mean(map(noise.variance, steps))
        self.signal = mean(noise.signal(pieces, run.problem.samples) for pieces in steps)
        self.raw = mean(float(noise.mean(pieces).pow(2).sum()) for pieces in steps)
        held = [gradients(run, kept(step, ranks)) for step in run.steps]
        self.along, self.across = mean(map(noise.inner_variance, held)), mean(map(noise.orthogonal_variance, held))
        self.loss = mean(run.problem.loss(first_weights(), step.samples) for step in run.steps)


def mean(values: Any) -> float:
    """Returns the mean of some numbers."""
    every = list(values)
    return sum(every) / len(every)


def wanted(rule: Callable[[], hab.Policy], of: Callable[[Known], float], *, micro: int = 7) -> Sides:
    """Returns the sides of a case: the batch that a rule wants after four steps, measured on these ranks."""

    def sides(cluster: hab.Cluster) -> Pair:
        run = at_rest(cluster, Problem(80), batch=20, micro=micro, rule=rule)
        assert isinstance(run.rule, hab.Measured)
        progress = replace(run.training.progress, learning_rate=LR)
        return of(Known(run, cluster.size)), run.rule.wanted(run.training.measuring.estimate, progress)

    return sides


def halves(cluster: hab.Cluster) -> Pair:
    """Returns a batch of 8, and what SimiGrad wants where its target is the mean cosine of all halves of that batch."""
    run = at_rest(cluster, Problem(16), batch=8, epochs=2)
    one = run.problem.gradients(first_weights())[:8]
    variance, signal = noise.variance_of_samples(one), noise.signal(list(one[:, None]), run.problem.samples)
    estimate = replace(run.training.measuring.estimate, variance=variance, signal=signal)
    rule = hab.SimiGrad(similarity=noise.cosine_of_halves(one, combinations(range(8), 4)))
    return 8, rule.wanted(estimate, run.training.progress)


def first_jump(cluster: hab.Cluster) -> Pair:
    """Returns the first batch that the norm test jumps to, rounded to equal shares and passes of all ranks."""
    theta = 0.5
    rule = {"rule": lambda: hab.NormTest(window=40, theta=theta, growth=1e9, dwell=1, tolerance=0.0)}
    run = at_rest(cluster, Problem(400), batch=8, micro=500, until=lambda run: run.training.global_batch != 8, **rule)
    pieces = [gradients(run, step.pieces) for step in run.steps]
    ages = [8 * n for n in reversed(range(len(pieces)))]
    variance = noise.faded(list(map(noise.variance, pieces)), ages, 80)
    signal = noise.faded([noise.signal(one, 400) for one in pieces], ages, 80)
    share = round(rules.with_noise(theta**2 * signal, variance, 400) / cluster.size)
    return min(share, 400 // cluster.size) * cluster.size, run.training.global_batch


def goodput(cluster: hab.Cluster) -> Pair:
    """Returns the largest goodput of all batches, and that of the batch that the rule chooses.

    A step takes a + c M seconds here, and as much was timed at two batches.
    """
    a, c, now, rule = 0.2, 0.001 / cluster.size, 16, measuring(hab.Goodput, growth=64.0, power=1.0)
    run = at_rest(cluster, Problem(80), batch=now, rule=rule)
    known = Known(run, cluster.size)
    progress = replace(
        run.training.progress,
        step_seconds={size: a + c * size for size in (now, 2 * now)},
        pass_seconds={size: c * size for size in (now, 2 * now)},
        max_micro_batch=10**6,
        max_global_batch=10**5,
    )

    def value(batch: float) -> float:
        def square(batch: float) -> float:
            return known.signal + known.variance * (1 / batch - 1 / 80)

        return rules.goodput(batch, now, square, lambda batch: a + c * batch)

    assert isinstance(run.rule, hab.Measured)
    return max(map(value, range(1, 1000))), value(run.rule.wanted(run.training.measuring.estimate, progress))


def measuring(kind: type[hab.Measured], **fields: Any) -> Callable[[], hab.Policy]:
    """Returns a maker of a rule with an endless window, so that it never decides."""
    return lambda: kind(window=FOREVER, **fields)


BYRD, BOLLAPRAGADA = "Byrd et al. 2012, eq. 3.9", "Bollapragada et al. 1710.11258"
CASES = [
    Case(
        paper="McCandlish et al. 1812.06162, section 2.2",
        text="noise_scale, fraction 0.5: noise twice the signal; half of B_simple where N is large, here N = 80",
        run=wanted(
            measuring(hab.NoiseScale, fraction=0.5),
            lambda known: rules.with_noise(2 * known.signal, known.variance, 80),
        ),
    ),
    Case(
        paper=BYRD,
        text="norm_test, raw: passes of at most 7",
        run=wanted(
            measuring(hab.NormTest, theta=0.7, signal="raw"),
            lambda known: rules.norm_test(known.variance, known.raw, 0.7),
        ),
        quick=True,
    ),
    Case(
        paper=f"{BYRD}; DDP-Norm, Lau et al. 2412.21124",
        text="norm_test, raw: one gradient a worker",
        run=wanted(
            measuring(hab.NormTest, theta=0.7, signal="raw"),
            lambda known: rules.norm_test(known.variance, known.raw, 0.7),
            micro=20,
        ),
        ranks=(2, 3, 4),
    ),
    Case(
        paper=BYRD,
        text="norm_test, debiased: |g|² without its noise, and N = 80; the paper leaves both out",
        run=wanted(measuring(hab.NormTest), lambda known: rules.with_noise(known.signal, known.variance, 80)),
    ),
    Case(
        paper=BYRD,
        text="norm_test: the first jump, from B = 8, in whole shares of each rank",
        run=first_jump,
    ),
    Case(
        paper=f"{BOLLAPRAGADA}, eq. 2.6 and 3.3",
        text="inner_product, raw: the inner product test asks for more",
        run=wanted(
            measuring(hab.InnerProduct, signal="raw", nu=1e3),
            lambda known: rules.inner_product_test(known.along, known.across, known.raw, 0.9, 1e3),
        ),
        quick=True,
    ),
    Case(
        paper=f"{BOLLAPRAGADA}, eq. 2.6 and 3.3",
        text="inner_product, raw: augmented, the test of orthogonality asks for more",
        run=wanted(
            measuring(hab.InnerProduct, signal="raw", theta=1e3, nu=0.5),
            lambda known: rules.inner_product_test(known.along, known.across, known.raw, 1e3, 0.5),
        ),
    ),
    Case(
        paper="Balles et al. 1612.05086, eq. 19",
        text="cabs: learning rate times variance over loss",
        run=wanted(measuring(hab.Cabs), lambda known: rules.cabs(LR, known.variance, known.loss)),
        quick=True,
    ),
    Case(paper="Qin et al. 2021 (SimiGrad)", text="simigrad: the mean over all halves of 8 samples", run=halves),
    Case(
        paper="Qiao et al. 2008.12260, eq. 4 to 7",
        text="goodput: that of the batch chosen, beside the best of all; 25 candidates a decision",
        run=goodput,
        tolerance=0.01,
    ),
]
