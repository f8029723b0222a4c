"""Compares four estimators of gradient variance and signal on gradients whose truth is known (docs/statistics.md).

    python benchmarks/estimators.py [--draws 4000] [--seeds 5]

Gradients are Gaussian with 50 components, and pieces, variance and signal are those of each row. All estimators see the
same draws, and average them by a plain mean over the steps. "ours" is hpc_adabatch.gradients.Measurement.

A second table has what one rank gains by cutting a batch of 64 into more passes than two: the variance of the signal of
one measured step, in parts of that with two passes; the readings of the gradient that the step takes (one for each
pass, and one of the sum); and their product, which is the variance at equal cost, as fewer steps are measured then.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from hpc_adabatch.gradients import Measurement

DIMENSIONS = 50
Steps = list[tuple[list[int], np.ndarray]]  # sizes of the pieces, their gradients (pieces, dimensions)
PASSES = (2, 4, 8)
CASES = [
    ("even", [32, 32], 100.0, 1.0),
    ("even, noisy", [32, 32], 1000.0, 1.0),
    ("uneven", [7, 32, 32, 50, 3], 500.0, 1.0),
]


def draw(random: np.random.Generator, sizes: list[int], variance: float, signal: float, n_steps: int) -> Steps:
    true = np.full(DIMENSIONS, np.sqrt(signal / DIMENSIONS))
    deviation = np.sqrt(variance / DIMENSIONS / np.array(sizes))[:, None]
    return [(sizes, true + deviation * random.normal(size=(len(sizes), DIMENSIONS))) for _ in range(n_steps)]


def ours(steps: Steps) -> tuple[float, float]:
    found = []
    for sizes, pieces in steps:
        mean = np.average(pieces, axis=0, weights=sizes)
        squares = float(sum(b * (g @ g) for b, g in zip(sizes, pieces, strict=True)))
        found.append(Measurement(square_sum=squares, mean_square=mean @ mean, samples=sum(sizes), pieces=len(sizes)))
    return float(np.mean([m.variance for m in found])), float(np.mean([m.signal for m in found]))


def equal_weights(steps: Steps, clip: bool = False) -> tuple[float, float]:
    """Estimates as if all pieces had the mean size, as adaptdl does; ``clip`` bounds steps at 0, as fairscale does."""
    found = []
    for sizes, pieces in steps:
        n, size, mean = len(sizes), float(np.mean(sizes)), pieces.mean(axis=0)
        local, whole = float((pieces**2).sum(axis=1).mean()), float(mean @ mean)
        variance, signal = (local - whole) * size * n / (n - 1), (n * whole - local) / (n - 1)
        found.append((max(variance, 1e-6), max(signal, 0.0)) if clip else (variance, signal))
    variance, signal = np.mean(found, axis=0)
    return float(variance), float(signal)


def clipped(steps: Steps) -> tuple[float, float]:
    return equal_weights(steps, clip=True)


def differences(steps: Steps) -> tuple[float, float]:
    """Estimates from mean gradients of consecutive steps, as adaptdl on one rank; weights at rest are its best case."""
    means = [np.average(pieces, axis=0, weights=sizes) for sizes, pieces in steps]
    total = sum(steps[0][0])
    pairs = [(((a - b) ** 2).sum() / 2 * total, a @ b) for a, b in zip(means[::2], means[1::2], strict=True)]
    variance, signal = np.mean(pairs, axis=0)
    return float(variance), float(signal)


ESTIMATORS: dict[str, Callable[[Steps], tuple[float, float]]] = {
    "ours": ours,
    "equal weights": equal_weights,
    "clipped each step": clipped,
    "differences of steps": differences,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000, help="number of steps for each seed")
    parser.add_argument("--seeds", type=int, default=5)
    flags = parser.parse_args()
    print("| pieces | true variance, signal | " + " | ".join(ESTIMATORS) + " |")
    print("|---|---|" + "---|" * len(ESTIMATORS))
    for name, sizes, variance, signal in CASES:
        cells = []
        draws = [draw(np.random.default_rng(seed), sizes, variance, signal, flags.draws) for seed in range(flags.seeds)]
        for estimator in ESTIMATORS.values():
            found = np.array([estimator(steps) for steps in draws])
            (v, s), (dv, ds) = found.mean(axis=0), found.std(axis=0, ddof=1)
            cells.append(f"{v:.1f} ± {dv:.1f}, {s:.2f} ± {ds:.2f}")
        print(f"| {name}: {', '.join(map(str, sizes))} | {variance:g}, {signal:g} | " + " | ".join(cells) + " |")
    print("\n| passes | variance of the signal | readings | variance at equal cost |\n|---|---|---|---|")
    spread = {passes: spread_of(passes, flags) for passes in PASSES}
    for passes in PASSES:
        part = np.array([each / two for each, two in zip(spread[passes], spread[PASSES[0]], strict=True)])
        dearer = (passes + 1) / (PASSES[0] + 1)
        cells = [f"{x.mean():.2f} ± {x.std(ddof=1):.2f}" for x in (part, part * dearer)]
        print(f"| {passes} | {cells[0]} | {passes + 1} | {cells[1]} |")


def spread_of(passes: int, flags: argparse.Namespace) -> list[float]:
    """Returns the variance of the signal over measured steps of so many passes, for each seed."""
    found = []
    for seed in range(flags.seeds):
        steps = draw(np.random.default_rng(seed), [64 // passes] * passes, 1000.0, 1.0, flags.draws)
        found.append(float(np.var([ours([step])[1] for step in steps])))
    return found


if __name__ == "__main__":
    main()
