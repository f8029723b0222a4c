"""Cases: what the package measures of the gradient's noise at every step, beside the gradients of all samples."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from math import comb, factorial, prod
from typing import Any

import torch

import hpc_adabatch as hab

from .case import Case, Pair
from .equations import noise
from .problem import Problem, first_weights
from .watch import Run, Taken, watch

Sides = Callable[[hab.Cluster], Pair]
FOREVER = 10**15  # a window in which all measurements count alike


def content(window: int = FOREVER) -> hab.Policy:
    """Returns a rule that measures, and that any batch contents."""
    return hab.NormTest(window=window, theta=1e6)


def at_rest(cluster: hab.Cluster, problem: Problem, **how: Any) -> Run:
    """Watches a run that measures every step and whose weights stay: the learning rate is 0."""
    return watch(cluster, problem, lr=0.0, **({"rule": content} | how))


def gradients(run: Run, parts: list[list[int]]) -> list[torch.Tensor]:
    """Returns the gradients of the samples of each part, at the network's first weights."""
    return run.problem.pieces(first_weights(), parts)


def mean_gradient(cluster: hab.Cluster) -> Pair:
    """Returns the mean gradients of all steps, in one row."""
    run = watch(cluster, Problem(60), batch=23, micro=5, lr=0.0)
    means = [noise.mean(gradients(run, step.pieces)) for step in run.steps]
    return torch.cat(means), torch.cat([step.gradient for step in run.steps])


def each_step(name: str, of: Callable[[list[torch.Tensor]], float], *, batch: int, micro: int) -> Sides:
    """Returns the sides of a case: a number of each step's pieces, and that of this name in the measurement."""

    def sides(cluster: hab.Cluster) -> Pair:
        run = at_rest(cluster, Problem(60), batch=batch, micro=micro)
        steps = [step for step in run.steps if step.last is not None]
        return [of(gradients(run, step.pieces)) for step in steps], [getattr(step.last, name) for step in steps]

    return sides


def all_cuts(cluster: hab.Cluster) -> Pair:
    """Returns the variance of 5 samples, and the mean measured over all ways to cut them into pieces."""
    found: dict[Any, float] = {}

    def complete(run: Run) -> bool:
        step = run.steps[-1]
        found[frozenset(map(frozenset, step.pieces))] = step.last.variance
        sizes = [len(piece) for piece in step.pieces]
        alike = prod(factorial(sizes.count(size)) for size in set(sizes))
        return len(found) == factorial(5) // prod(map(factorial, sizes)) // alike

    run = at_rest(cluster, Problem(5), batch=5, micro=2, epochs=1000, until=complete)
    truth = noise.variance_of_samples(run.problem.gradients(first_weights()))
    return truth, sum(found.values()) / len(found)


def all_batches(cluster: hab.Cluster) -> Pair:
    """Returns |grad l|^2 of 6 samples, and the mean signal measured over all batches of 3 of them."""
    found: dict[Any, float] = {}

    def complete(run: Run) -> bool:
        found[frozenset(run.steps[-1].samples)] = run.steps[-1].last.signal
        return len(found) == comb(6, 3)

    run = at_rest(cluster, Problem(6), batch=3, micro=1, epochs=1000, until=complete)
    return true_signal(run), sum(found.values()) / len(found)


def whole_set(cluster: hab.Cluster) -> Pair:
    """Returns |grad l|^2 of the training set, and the signal measured on a batch that is all of it."""
    run = at_rest(cluster, Problem(13), batch=13)
    return true_signal(run), run.steps[0].last.signal


def true_signal(run: Run) -> float:
    """Returns |grad l|^2 of the training set."""
    return float(run.problem.gradients(first_weights()).mean(0).pow(2).sum())


def along_and_across(batch: int, micro: int) -> Sides:
    """Returns the sides of a case: inner and orthogonal variance of each step."""

    def sides(cluster: hab.Cluster) -> Pair:
        rule = {"rule": lambda: hab.InnerProduct(window=FOREVER)}
        run = at_rest(cluster, Problem(60), batch=batch, micro=micro, **rule)
        oracle, package = [], []
        for step in (step for step in run.steps if step.last is not None):
            pieces = gradients(run, kept(step, cluster.size))
            oracle += [noise.inner_variance(pieces), noise.orthogonal_variance(pieces)]
            package += [step.last.inner_variance, step.last.orthogonal_variance]
        return oracle, package

    return sides


def kept(step: Taken, ranks: int) -> list[list[int]]:
    """Returns what a rank keeps until the mean is known: all its passes as one piece; one rank alone, its halves."""
    if ranks == 1:
        half = (len(step.pieces) + 1) // 2
        parts = [step.pieces[:half], step.pieces[half:]]
    else:
        parts = [[one.samples for one in step.passes if one.rank == rank] for rank in range(ranks)]
    return [list(chain(*part)) for part in parts if part]


RESTS = "B = 23 of 60 in passes of at most 5"
DE, BOLLAPRAGADA = "De et al. 1610.05792", "Bollapragada et al. 1710.11258"
CASES = [
    Case(
        paper="Goyal et al. 1706.02677, section 2.1",
        text=f"mean gradient of every step: {RESTS}",
        run=mean_gradient,
        quick=True,
    ),
    Case(
        paper=f"{DE}, section 3: V_B",
        text="variance of every step: one sample a pass, B = 8 of 60",
        run=each_step("variance", lambda pieces: noise.variance_of_samples(torch.cat(pieces)), batch=8, micro=1),
    ),
    Case(
        paper=f"{DE}, section 3: V_B",
        text=f"variance of every step from its passes: {RESTS}",
        run=each_step("variance", noise.variance, batch=23, micro=5),
        quick=True,
    ),
    Case(
        paper=f"{DE}, section 3: E V_B",
        text="variance of 5 samples: mean over all ways to cut them into uneven passes",
        run=all_cuts,
        ranks=(1,),
        quick=True,
    ),
    Case(
        paper=f"{DE}, section 3: |g_B|² - V_B (1/B - 1/N)",
        text=f"signal of every step: {RESTS}",
        run=each_step("signal", lambda pieces: noise.signal(pieces, 60), batch=23, micro=5),
    ),
    Case(
        paper=f"{DE}, section 3: |∇l|²",
        text="signal: mean over all 20 batches of 3 of 6 samples",
        run=all_batches,
        ranks=(1,),
    ),
    Case(paper=f"{DE}, section 3: |∇l|²", text="signal of a batch of all 13 samples", run=whole_set),
    Case(
        paper=f"{BOLLAPRAGADA}, eq. 2.6 and 3.3",
        text="variance along and across g of every step: a sample a rank",
        run=lambda cluster: along_and_across(cluster.size, 1)(cluster),
        ranks=(2, 3, 4),
    ),
    Case(
        paper=f"{BOLLAPRAGADA}, eq. 2.6 and 3.3",
        text="variance along and across g of every step, a rank's passes as one: B = 25 of 60 in passes of at most 4",
        run=along_and_across(25, 4),
        quick=True,
    ),
]
