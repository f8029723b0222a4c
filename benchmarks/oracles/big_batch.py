"""Cases: Big Batch SGD, walked by the oracle from the first weights: batches, step sizes, weights.

    draw K samples; while theta^2 |g|^2 <= V / K: K grows by a tenth, the samples so far are kept
    Algorithm 1: a fixed step size       2: backtracking, doubled after a growth       3: Barzilai and Borwein's

The oracle takes from the package which samples came, and in which passes. Ours: the last steps of an epoch share what
is left of it, a growth that would leave less than half a batch takes all, and gives each rank two samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import hpc_adabatch as hab

from .case import Case, Pair
from .equations import noise, search
from .problem import Problem, first_weights, flat, shaped
from .watch import Run, Taken, watch

SAMPLES, FIRST, THETA = 120, 8, 0.7


class Walk:
    """The way of Big Batch SGD.

    Args:
        run: the package's run, for its samples and passes.
        alpha: the first step size.
        ranks: number of ranks; a growth gives each at least two samples.
        follow: finds step sizes: ``fixed``, ``armijo``, ``barzilai_borwein``.
    """

    def __init__(self, run: Run, alpha: float, ranks: int, follow: str) -> None:
        self.run, self.ranks, self.follow = run, ranks, follow
        self.weights = first_weights()
        self.x, self.alpha, self.batch = flat(self.weights), alpha, FIRST
        self.batches: list[float] = []
        self.alphas: list[float] = []

    def step(self, taken: Taken, left: int) -> None:
        """Takes a step, ``left`` samples before the end of the epoch."""
        size, wanted, grown = self.batch, self.batch, False
        if left < 2 * size:
            size = left if left <= 1.5 * size else -(-left // 2)
        every = self.run.problem.gradients(shaped(self.x, self.weights))
        while True:
            pieces = [every[one.samples] for one in taken.passes if one.batch <= size]
            g = noise.mean(pieces)
            if THETA**2 * float(g @ g) > noise.variance(pieces) / size:
                break
            asked = min(size + max(round(size / 10), 2 * self.ranks), SAMPLES)
            wanted = max(wanted, asked)
            if size == left or asked <= size:  # the epoch or the training set ends it
                break
            size, grown = left if left <= 1.5 * asked else asked, True
        grew, whole = wanted > self.batch, grown or size >= 0.75 * self.batch
        self.batch = wanted
        self.batches.append(size)
        accepted = self.searched(taken, pieces, g, size, grew=grew, whole=whole)
        self.alphas.append(self.alpha)
        self.x = self.x - accepted * g

    def searched(
        self, taken: Taken, pieces: list[torch.Tensor], g: torch.Tensor, size: int, *, grew: bool, whole: bool
    ) -> float:
        """Returns the step size of this step, and sets the one that the next search begins with."""
        if self.follow == "fixed":
            return self.alpha

        def loss(x: torch.Tensor) -> float:
            return self.run.problem.loss(shaped(x, self.weights), taken.samples)

        first = 2 * self.alpha if grew and self.follow == "armijo" else self.alpha
        accepted = search.backtracked(loss, self.x, g, first)
        if whole:
            self.alpha = accepted
        if whole and self.follow == "barzilai_borwein":
            there = self.run.problem.gradients(shaped(self.x - accepted * g, self.weights))[taken.samples].mean(0)
            self.alpha = search.barzilai_borwein(
                accepted, -accepted * g, g, there, variance=noise.variance(pieces), samples=size, population=SAMPLES
            )
        return accepted


def algorithm(
    follow: str, alpha: float, make: Callable[[], hab.Armijo] | None, **how: Any
) -> Callable[[hab.Cluster], Pair]:
    """Returns the sides of a case: batches of all steps, step sizes that the search has come to, and all weights."""

    def sides(cluster: hab.Cluster) -> Pair:
        run = watch(
            cluster,
            Problem(SAMPLES),
            batch=FIRST,
            epochs=3,
            lr=alpha,
            rule=lambda: hab.BigBatch(theta=THETA),
            search=make,
            **{"micro": 5} | how,
        )
        walk, cursor = Walk(run, alpha, cluster.size, follow), 0
        for taken in run.steps:
            walk.step(taken, SAMPLES - cursor)
            cursor = (cursor + taken.batch) % SAMPLES
        found = [alpha if taken.step_size is None else taken.step_size for taken in run.steps]
        return (
            [*walk.batches, *walk.alphas, *walk.x.tolist()],
            [*(taken.batch for taken in run.steps), *found, *run.weights().tolist()],
        )

    return sides


DE = "De et al. 1610.05792"
CASES = [
    Case(
        paper=f"{DE}, Algorithm 1",
        text="big_batch: batches and weights; one sample a pass, V_B over samples",
        run=algorithm("fixed", 0.2, None, micro=1),
        ranks=(1, 2),
    ),
    Case(
        paper=f"{DE}, Algorithm 1",
        text="the same, V_B over uneven passes of at most 5; a restart after step 4",
        run=algorithm("fixed", 0.2, None, restarts=(3,)),
    ),
    Case(
        paper=f"{DE}, Algorithms 1 and 2",
        text="big_batch with armijo: batches, step sizes, weights; a restart after step 4",
        run=algorithm("armijo", 4.0, lambda: hab.Armijo(alpha=4.0), restarts=(3,)),
    ),
    Case(
        paper=f"{DE}, Algorithms 1 and 3",
        text="big_batch with barzilai_borwein: batches, step sizes, weights; a restart after step 4",
        run=algorithm("barzilai_borwein", 4.0, lambda: hab.BarzilaiBorwein(alpha=4.0), restarts=(3,)),
    ),
]
