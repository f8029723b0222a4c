"""Fewer points that draw the same curve: of each stretch of a curve, the points where something is largest or smallest.

A screen has a thousand columns of pixels. With the extremes of each of its stretches a curve fills the same pixels as
with all of its points: no peak and no gap is lost, unlike with every n-th point or with averages.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def kept(columns: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Returns the positions of the points to be drawn, in order: all of them where they are few.

    Args:
        columns: The numbers that are drawn, one for each point; nan where there is none, which leaves a gap.
        most: The number of points to be kept, or a little less; larger than twice the number of columns.

    Returns:
        The first and the last point, and of each stretch the first one at which a column is smallest, largest or nan.
    """
    points = len(columns[0])
    if points <= most:
        return np.arange(points)
    stretches = max(1, (most - 2) // (2 * len(columns)))
    edges = np.linspace(0, points, stretches + 1).astype(int)
    found = {0, points - 1}
    for column in columns:
        missing = np.isnan(column)
        low, high = np.where(missing, np.inf, column), np.where(missing, -np.inf, column)
        for begin, end in pairwise(edges):
            found |= {begin + int(low[begin:end].argmin()), begin + int(high[begin:end].argmax())}
            if missing[begin:end].any():
                found.add(begin + int(missing[begin:end].argmax()))
    return np.array(sorted(found))
