"""Intervals of a sum of terms, none of which may be negative, over all that the data leave open.

    A c = y +- sd, c >= 0        least sum of squares, each row over its standard deviation: X(c)
    interval of x . c            every value v for which some c >= 0 with x . c = v has X(c) <= X(best) + t^2
    of a new observation         likewise, with v as one row more, of its own standard deviation

This profile needs no inverse, so it holds where columns cannot be told apart, where the best fit lies on the edge
c = 0, and where there are more columns than rows: then the interval reaches over all mixtures that fit. With columns
that are told apart, away from the edge, it is Student's interval of linear least squares
(Venzon & Moolgavkar 1988, https://doi.org/10.2307/2347496).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq, nnls

RIDGE = 0.1  # standard deviations, at most: among mixtures that fit alike, the even one rather than any
EXACT = 1e-3  # standard deviation that stands for equality, in parts of the value
DOUBLINGS = 60


class Profile:
    """A fit by non-negative least squares, and the intervals around it.

    Args:
        rows: (observations, columns).
        values: (observations,).
        deviations: (observations,) standard deviations, above 0.
    """

    def __init__(self, rows: np.ndarray, values: np.ndarray, deviations: np.ndarray) -> None:
        weighted = rows / deviations[:, None]
        lengths = np.linalg.norm(weighted, axis=0)
        self.seen = lengths > 0  # (columns,): what no row has, no row can tell
        self._lengths = np.where(self.seen, lengths, 1.0)
        table = np.column_stack([weighted / self._lengths, values / deviations])
        triangle = np.asarray(np.linalg.qr(table, mode="r"))  # the same sums of squares, in as many rows as columns
        self._rows, self._target = triangle[:, :-1], triangle[:, -1]
        scaled, rest = nnls(self._rows, self._target)
        self._least = rest**2
        self.solution = self._even(scaled) / self._lengths  # (columns,)
        self.misfit = float(np.sum((weighted @ self.solution - values / deviations) ** 2))

    def _even(self, scaled: np.ndarray) -> np.ndarray:
        """Returns the shortest of the solutions that fit as well, within a tenth of a standard deviation."""
        length = float(np.linalg.norm(scaled))
        if length == 0:
            return scaled
        ridge = RIDGE / length * np.eye(len(scaled))
        return nnls(np.vstack([self._rows, ridge]), np.append(self._target, np.zeros(len(scaled))))[0]

    def value(self, x: np.ndarray) -> float:
        """Returns x . c at the best fit."""
        return float(x @ self.solution)

    def interval(self, x: np.ndarray, quantile: float, deviation: float = 0.0) -> tuple[float, float]:
        """Returns the ends of the interval of x . c, or of a new observation of it.

        Args:
            x: (columns,), none negative where the low end is to be meant.
            quantile: Half the width of the interval (t), in standard deviations.
            deviation: The standard deviation of the new observation; 0 for x . c itself.
        """
        best = self.value(x)
        if not self.seen[x != 0].all():
            return 0.0, math.inf
        scale = max(abs(best), float(np.abs(x / self._lengths).max()))
        if scale == 0:
            return 0.0, 0.0
        row = x / self._lengths / max(deviation, EXACT * scale)
        goal = self._least + quantile**2

        def over(trial: float) -> float:
            rows = np.vstack([self._rows, row])
            target = np.append(self._target, trial / max(deviation, EXACT * scale))
            return float(nnls(rows, target)[1] ** 2 - goal)

        reach = max(deviation, 0.01 * scale)
        return _end(over, best, -reach), _end(over, best, reach)


def _end(over: Callable[[float], float], best: float, reach: float) -> float:
    """Returns where ``over`` turns positive, on the way from ``best`` in the direction of ``reach``; 0 at the least."""
    inside, outside = best, best + reach
    for _ in range(DOUBLINGS):
        outside = max(outside, 0.0) if reach < 0 else outside
        if over(outside) > 0:
            return float(brentq(over, inside, outside, rtol=1e-4)) if outside != inside else outside
        if reach < 0 and outside == 0.0:
            return 0.0
        inside, reach = outside, 2 * reach
        outside = inside + reach
    return math.copysign(math.inf, reach)
