"""Compares four estimators of gradient variance and signal on gradients whose truth is known (docs/statistics.md).

    python benchmarks/estimators.py [--draws 4000] [--seeds 5]

Gradients are Gaussian with 50 components, and pieces, variance and signal are those of each row. All estimators see the
same draws, and average them by a plain mean over the steps. "ours" is hpc_adabatch.gradients.Measurement.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from hpc_adabatch.gradients import Measurement

DIMENSIONS = 50
Steps = list[tuple[list[int], np.ndarray]]  # sizes of the pieces, their gradients (pieces, dimensions)
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


if __name__ == "__main__":
    main()
