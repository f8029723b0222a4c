"""Batches, from the papers' rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def adabatch(
    epochs: int, r: int, *, beta: float, d: float, interval: int, largest: int, warmup: int = 0, base: int | None = None
) -> list[tuple[int, float]]:
    """Returns batch and learning rate / base learning rate of each epoch: 1712.02029, as in its authors' code.

    Where growth is cut short by the largest batch, the learning rate takes the rest, so that rate / batch goes on.
    """
    a, start, found = 1.0, r, []
    for epoch in range(epochs):
        found.append((r, a))
        if epoch + 1 < warmup and base is not None:
            a += (start / base - 1) / (warmup - 1)
        if (epoch + 1) % interval == 0:
            grown = math.floor(r * beta)
            a *= d * (largest / (r * beta) if grown > largest else 1)
            r = min(grown, largest)
    return found


def milestones(
    epochs: int, r: int, *, at: Sequence[int], decay: float, power: float, largest: int
) -> list[tuple[int, float]]:
    """Returns batch and rate of each epoch: the batch grows by 1 / decay, rate / batch^power goes on as it would have.

    power 1 is Smith et al. 1711.00489, whose rate stays; power 1/2 is Seesaw, 2510.14717, whose rate falls by
    sqrt(decay). At the largest batch the rate falls instead.
    """
    found = []
    for epoch in range(epochs):
        passed = sum(epoch >= milestone for milestone in at)
        batch = min(round(r / decay**passed), largest)
        found.append((batch, decay**passed * (batch / r) ** power))
    return found


def written(when: Sequence[tuple[int, int]], cursor: int) -> int:
    """Returns the batch that holds at a sample, of pairs (first sample, batch)."""
    return [batch for first, batch in when if first <= cursor][-1]


def plateau(losses: Sequence[float], batch: int, *, factor: int, patience: int, threshold: float) -> list[int]:
    """Returns the batch of each epoch: it grows after ``patience`` epochs whose loss was not better by a threshold."""
    best, waited, found = math.inf, 0, [batch]
    for loss in losses:
        if math.isinf(best) or loss < best * (1 - threshold):
            best, waited = loss, 0
        else:
            waited += 1
        if waited == patience:
            batch, waited = batch * factor, 0
        found.append(batch)
    return found[:-1]


def norm_test(variance: float, square: float, theta: float) -> float:
    """Returns |S| = |Var g|_1 / (theta^2 |g_S|^2): Byrd et al. 2012, equation 3.9."""
    return variance / (theta**2 * square)


def with_noise(noise: float, variance: float, population: int) -> float:
    """Returns the B of V (1/B - 1/N) = noise, which is E|g_B - grad l|^2 for a batch drawn without replacement."""
    return 1 / (noise / variance + 1 / population)


def inner_product_test(along: float, across: float, square: float, theta: float, nu: float) -> float:
    """Returns the larger |S| of equations 2.6 and 3.3: Bollapragada et al. 1710.11258."""
    return max(along / (theta**2 * square**2), across / (nu**2 * square))


def cabs(lr: float, variance: float, loss: float) -> float:
    """Returns m = alpha tr Sigma / F: Balles et al. 1612.05086."""
    return lr * variance / loss


def goodput(batch: float, start: float, square: Callable[[float], float], seconds: Callable[[float], float]) -> float:
    """Returns THROUGHPUT(M) EFFICIENCY(M): Qiao et al. 2008.12260, equations 4 to 7.

    Args:
        batch: M.
        start: M0.
        square: E|g_M|^2; the efficiency M0 E|g_M0|^2 / (M E|g_M|^2) is (phi + M0) / (phi + M) where N is large.
        seconds: time of a step.
    """
    return batch / seconds(batch) * start * square(start) / (batch * square(batch))
