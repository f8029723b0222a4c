"""Counts how often 95 % intervals of signal, noise scale and AdaScale's gain hold the truth, on draws that know it.

    python benchmarks/intervals.py [--repeats 500] [--seeds 4] [--write docs/results/intervals.md]

Each repeat draws the gradients of a number of steps, measures them as training does (hpc_adabatch.gradients) and asks
whether the intervals hold the truth: |mean|^2, variance / |mean|^2, and for the gain E|g|^2 of the reference batch over
that of the large batch. Draws are Gaussian with 20 components; "logistic" has the gradients of a logistic regression,
one for each sample. The training set has 1,437 samples where one is named, and its batches follow a permutation an
epoch. "scale moves" multiplies all gradients of a step by one lognormal factor.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import machine, versions

from hpc_adabatch.gradients import Estimate, Measurement, Smoother
from hpc_adabatch.learning_rate.adascale import gain

DIMENSIONS, SAMPLES = 20, 1437
REFERENCE_BATCH, SCALE = 32, 16  # of the gain
ALL = 1e12  # a window that forgets nothing
GROWTH = [64] * 32 + [128] * 16 + [256] * 8 + [512] * 4 + [1024] * 4


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row of the table."""

    name: str
    batches: list[int]
    """Samples of each step; the last one of an epoch is cut to what is left of the training set."""
    noise_scale: float = 360.0
    pieces: int = 2
    population: str = ""
    """Training set: none for independent draws, gaussian, or logistic."""
    window: float = ALL
    every: int = 1
    """Steps from one measurement to the next."""
    moves: float = 0.0
    """Standard deviation of the logarithm of the factor of |g|^2 and variance that the gradients of a step share."""


CASES = [
    Case(name="independent, batch 64", batches=[64] * 40),
    Case(name="independent, batch 360, 8 pieces", batches=[360] * 40, pieces=8),
    Case(name="independent, batch 1024", batches=[1024] * 40),
    Case(name="independent, 6 steps", batches=[360] * 6),
    Case(name="independent, fading over 10 steps", batches=[360] * 60, window=3600.0),
    Case(name="scale moves by 50 %", batches=[360] * 40, moves=0.5),
    Case(name="scale moves by 30 %, 10 steps", batches=[360] * 10, moves=0.3),
    Case(name="every tenth step a rest of 8 of 1024", batches=([1024] * 9 + [8]) * 4, noise_scale=1000.0),
    Case(
        name="rests of 8 of 1024, fading over 20 steps",
        batches=([1024] * 9 + [8]) * 5,
        noise_scale=1000.0,
        window=2e4,
    ),
    Case(name="batch grows 64 to 1024", batches=GROWTH),
    Case(name="batch grows 64 to 1024, 8 pieces", batches=GROWTH, noise_scale=1000.0, pieces=8),
    Case(name="batch grows 64 to 1024, fading over 4,096 samples", batches=GROWTH, window=4096.0),
    Case(name="training set, batch 64, 2 epochs", batches=[64] * 46, population="gaussian"),
    Case(name="training set, batch 64, 2 epochs, 8 pieces", batches=[64] * 46, population="gaussian", pieces=8),
    Case(
        name="training set, every 5th step, fading over half an epoch",
        batches=[64] * 230,
        population="gaussian",
        window=SAMPLES / 2,
        every=5,
        noise_scale=100.0,
    ),
    Case(name="training set, batch 360, fading", batches=[360] * 24, population="gaussian", window=SAMPLES / 2),
    Case(name="training set, batch 64, rests of 29", batches=[64] * 23 * 3, population="gaussian", noise_scale=1438.0),
    Case(
        name="training set, batch grows 32 to 256",
        batches=[32] * 45 + [64] * 23 + [128] * 12 + [256] * 12,
        population="gaussian",
        window=SAMPLES,
    ),
    Case(
        name="training set, batch grows 32 to 512",
        batches=[32] * 45 + [128] * 12 + [512] * 6,
        population="gaussian",
        window=SAMPLES,
    ),
    Case(name="logistic, batch 64, 2 epochs", batches=[64] * 46, population="logistic"),
    Case(name="logistic, batch 256, fading, 4 pieces", batches=[256] * 24, population="logistic", window=1e3, pieces=4),
]


def split(samples: int, pieces: int) -> list[int]:
    """Returns the sizes of the pieces of a batch, none of them empty."""
    return [size for part in range(pieces) if (size := samples // pieces + (part < samples % pieces))]


def population(kind: str, noise_scale: float) -> np.ndarray:
    """Returns the gradients of all samples of a training set. Shape (samples, dimensions)."""
    random = np.random.default_rng(0)
    if kind == "gaussian":
        gradients = random.normal(size=(SAMPLES, DIMENSIONS))
        gradients -= gradients.mean(axis=0)
        variance = (gradients**2).sum() / (SAMPLES - 1)
        return gradients + math.sqrt(variance / noise_scale / DIMENSIONS)
    inputs = random.normal(size=(SAMPLES, DIMENSIONS)) * np.geomspace(0.3, 3.0, DIMENSIONS)
    labels = random.random(SAMPLES) < 1 / (1 + np.exp(-inputs @ random.normal(size=DIMENSIONS)))
    weights = np.zeros(DIMENSIONS)
    for _ in range(60):  # towards the optimum, until signal and noise are comparable
        weights -= 0.1 * ((1 / (1 + np.exp(-inputs @ weights)) - labels)[:, None] * inputs).mean(axis=0)
    return (1 / (1 + np.exp(-inputs @ weights)) - labels)[:, None] * inputs


def truth(case: Case) -> tuple[float, float, np.ndarray]:
    """Returns variance, signal, and the gradients of all samples or the true mean of independent draws."""
    if not case.population:
        signal = 1.0 / case.noise_scale
        return 1.0, signal, np.full(DIMENSIONS, math.sqrt(signal / DIMENSIONS))
    gradients = population(case.population, case.noise_scale)
    mean = gradients.mean(axis=0)
    return float(((gradients - mean) ** 2).sum() / (SAMPLES - 1)), float(mean @ mean), gradients


def true_gain(variance: float, signal: float, n_samples: float) -> float:
    """Returns E|g|^2 of the reference batch over that of the large one; ``SCALE`` at most, where no signal is left."""
    small, large = (signal + variance * (1 / b - 1 / n_samples) for b in (REFERENCE_BATCH, SCALE * REFERENCE_BATCH))
    return min(float(SCALE), small / large) if large > 0 else float(SCALE)


def measurements(case: Case, variance: float, gradients: np.ndarray, random: np.random.Generator) -> Iterator:
    """Yields the measurement of each measured step, with the samples since the last one."""
    since, left, totals = 0, 0, np.zeros((0, DIMENSIONS))
    for number, batch in enumerate(case.batches):
        if case.population:
            if left == 0:
                order = random.permutation(SAMPLES)
                totals, left = np.concatenate([np.zeros((1, DIMENSIONS)), gradients[order].cumsum(axis=0)]), SAMPLES
            batch = min(batch, left)
            left -= batch
        since += batch
        if number % case.every or batch < 2:
            continue
        sizes = np.array(split(batch, case.pieces))
        if case.population:
            edges = SAMPLES - left - batch + np.concatenate([[0], sizes.cumsum()])
            pieces = np.diff(totals[edges], axis=0) / sizes[:, None]
        else:
            drawn = random.normal(size=(len(sizes), DIMENSIONS))
            pieces = gradients + np.sqrt(variance / DIMENSIONS / sizes)[:, None] * drawn
        factor = math.exp(case.moves * random.normal() - case.moves**2 / 2) if case.moves else 1.0
        mean = sizes @ pieces / batch
        yield (
            Measurement(
                square_sum=factor * float(sizes @ (pieces**2).sum(axis=1)),
                mean_square=factor * float(mean @ mean),
                samples=batch,
                pieces=len(sizes),
                population=SAMPLES if case.population else None,
            ),
            since,
        )
        since = 0


def gain_between(estimate: Estimate) -> tuple[float, float]:
    """Returns the gain's interval: the gain grows with the noise scale, whose ends it is taken at."""
    part = 1 / estimate.population if estimate.population else 0.0
    ends = [1 / scale - part if scale > 0 else math.inf for scale in (estimate.low, estimate.high)]
    low, high = (
        1.0 if math.isinf(end) else gain(1.0, end, scale=SCALE, reference_batch=REFERENCE_BATCH) for end in ends
    )
    return low, high


def covered(case: Case, repeats: int, seed: int) -> np.ndarray:
    """Returns how often signal, noise scale and gain were held, and how often there was no upper end. Shape (4,)."""
    variance, signal, gradients = truth(case)
    expected = true_gain(variance, signal, SAMPLES if case.population else math.inf)
    random, held = np.random.default_rng(seed), np.zeros(4)
    for _ in range(repeats):
        smoother = Smoother(case.window)
        for measurement, since in measurements(case, variance, gradients, random):
            smoother.add(measurement, since)
        estimate = smoother.read()
        assert estimate is not None  # six steps at least
        low, high = gain_between(estimate)
        held += [
            abs(estimate.signal - signal) <= estimate.signal_margin,
            estimate.low <= variance / signal <= estimate.high,
            low * (1 - 1e-12) <= expected <= high * (1 + 1e-12),
            math.isinf(estimate.high),
        ]
    return held / repeats


def rows(cases: list[Case], repeats: int, seeds: int) -> Iterator[str]:
    """Yields the lines of the table."""
    yield "| draws | noise scale | signal held | noise scale held | gain held | no upper end |"
    yield "|---|--:|--:|--:|--:|--:|"
    for case in cases:
        variance, signal, _ = truth(case)
        found = 100 * np.array([covered(case, repeats, seed) for seed in range(seeds)])
        cells = [
            f"{mean:.1f} ± {spread:.1f}"
            for mean, spread in zip(found.mean(axis=0)[:3], found.std(axis=0, ddof=1)[:3], strict=True)
        ]
        yield f"| {case.name} | {variance / signal:.0f} | {' | '.join(cells)} | {found.mean(axis=0)[3]:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=500, help="number of averages for each seed")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--write", type=Path, help="the page to write")
    flags = parser.parse_args()
    began_s, lines = time.monotonic(), []
    for line in rows(CASES, flags.repeats, flags.seeds):
        print(line, flush=True)
        lines.append(line)
    if flags.write is not None:
        told = (__doc__ or "").split("\n\n", 2)[2].strip()
        page = [
            "# Intervals of signal, noise scale and gain: how often they hold the truth",
            "",
            f"    python benchmarks/intervals.py --repeats {flags.repeats} --seeds {flags.seeds} --write {flags.write}",
            "",
            f"{versions()}; {machine(1)}; {(time.monotonic() - began_s) / 60:.0f} minutes.",
            "",
            told,
            "",
            f"Percent of {flags.repeats * flags.seeds} averages; ± is the standard deviation over {flags.seeds} seeds.",
            "Intervals are meant to hold 95 %. A signal cannot be negative: the interval of a weak one reaches down to",
            "0, so that of its noise scale has no upper end, misses on one side only and holds 97.5 %. Where batches",
            "are more than a third of the training set, intervals are a little too wide.",
            "",
            *lines,
        ]
        flags.write.write_text("\n".join(page) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
