"""Step sizes that are found on the batch in hand: De et al. 1610.05792, Algorithms 2 and 3."""

from __future__ import annotations

from collections.abc import Callable

import torch

DECREASE = 0.1  # c


def backtracked(loss: Callable[[torch.Tensor], float], x: torch.Tensor, gradient: torch.Tensor, first: float) -> float:
    """Returns the first of alpha, alpha / 2, alpha / 4 ... with l(x - alpha g) <= l(x) - c alpha |g|^2."""
    alpha, here, square = first, loss(x), float(gradient @ gradient)
    while loss(x - alpha * gradient) > here - DECREASE * alpha * square:
        alpha /= 2
    return alpha


def barzilai_borwein(
    alpha: float,
    step: torch.Tensor,
    gradient: torch.Tensor,
    gradient_there: torch.Tensor,
    *,
    variance: float,
    samples: int,
    population: int,
) -> float:
    """Returns the next step size: 1 / nu (1 - V / (K |g|^2)), which counts by the batch's part of the training set.

    Args:
        alpha: the step size of the step that was taken.
        step: x' - x.
        gradient: g at x.
        gradient_there: g of the same batch at x'.
        variance: V.
        samples: K.
        population: N.
    """
    nu = float(step @ (gradient_there - gradient)) / float(step @ step)
    if nu <= 0:
        return alpha
    noise = variance / (samples * float(gradient @ gradient)) if samples < population else 0.0
    part = samples / population
    return alpha * (1 - part) + max(0.0, 1 - noise) / nu * part
