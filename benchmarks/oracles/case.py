"""A line of the page: what the paper says, what the package does, and how far they are apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

import hpc_adabatch as hab

Values = float | Sequence[float] | torch.Tensor  # a tensor is one row of numbers, compared as a whole
Pair = tuple[Values, Values]
TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """An oracle beside the package.

    Args:
        paper: the paper, with its equation.
        text: what is computed, on which uneven, short, skipped or restarted steps.
        run: returns what the oracle and what the package have come to: numbers, or as many numbers each.
        ranks: numbers of ranks on which it is computed.
        tolerance: largest relative difference that holds.
        quick: belongs to the short form.
    """

    paper: str
    text: str
    run: Callable[[hab.Cluster], Pair]
    ranks: Sequence[int] = (1, 2, 3, 4)
    tolerance: float = TOLERANCE
    quick: bool = False

    def found(self, cluster: hab.Cluster) -> Found:
        """Computes both sides on these ranks."""
        try:
            oracle, package = self.run(cluster)
        except Exception as error:  # on all ranks alike, else the others would wait for ever
            return Found(oracle=[], package=[], difference=math.inf, ranks=cluster.size, error=f"{error!r:.120}")
        if isinstance(oracle, torch.Tensor) and isinstance(package, torch.Tensor):
            lengths, distance = [float(oracle.norm())], float((package - oracle).norm() / oracle.norm())
            theirs = [float(package.norm())]
            return Found(oracle=lengths, package=theirs, difference=distance, ranks=cluster.size, row=True)
        expected, came = (
            [float(value)] if isinstance(value, (int, float)) else [float(one) for one in value]
            for value in (oracle, package)
        )
        each = [apart(a, b) for a, b in zip(expected, came, strict=False)]
        difference = max(each) if each and len(expected) == len(came) else math.inf
        return Found(oracle=expected, package=came, difference=difference, ranks=cluster.size)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Both sides of a case on some number of ranks."""

    oracle: list[float]
    package: list[float]
    difference: float
    """The largest relative difference; infinite where one side has more numbers."""
    ranks: int
    row: bool = False
    """True for a row of weights or gradients, of which the lengths are kept."""
    error: str = ""
    """What was raised instead."""


def apart(oracle: float, package: float) -> float:
    """Returns the difference relative to the oracle; absolute where that is 0."""
    if oracle == package:
        return 0.0
    if not math.isfinite(oracle) or not math.isfinite(package):
        return math.inf
    return abs(package - oracle) / (abs(oracle) or 1.0)
