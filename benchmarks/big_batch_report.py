"""Writes the page and the picture about the runs of big_batch_convex.py; big_batch_claims.py has the numbers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from big_batch_claims import NAMES, Run, claims, problems, rates, select, setting_table, sgd_gaps, table
from machine import versions

GRID_PASSES = 150  # points of a line in the picture
WHAT = """\
De, Yadav, Jacobs & Goldstein 2017 (https://arxiv.org/abs/1610.05792) on ridge and logistic regression: drawn samples,
50 features whose covariance has condition 100, penalty 0.001, float64. Every training starts with a batch of 32, sees
each sample once a pass and has no momentum. Big Batch is `big_batch` with theta 1, the raw test of the paper, and 8
pieces a rank. For Armijo and BB (Barzilai & Borwein) the column `step` holds the first step size."""
MEANING = """\
Gaps f - f* are geometric means over seeds; a seed draws the data and their order. Diverged: with some seed the gap was
not finite, or above that of the start. Passes, search counted: samples whose loss was computed, with or without its
gradient, divided by the samples of the set; BB also counts its second gradient. A loss alone costs less than half of a
gradient, so the gap within so many of these passes is the gap at equal work or less. SNR is K |grad l|^2 / tr Var of
the batch K in hand, from the gradients of all samples: quantiles over all steps of all seeds with a batch below the
whole set, and the median of the last pass. Whole set from pass: when the batch became the whole set, as a mean over the
seeds where it did."""
CAUSES = """\
**Where (b) fails for BB.** At theta 1 every batch passes the test on average: the mean of |g_B|^2 is |grad l|^2 + tr
Var / K, which is more than the tr Var / K that it is compared with. Only chance lengthens a batch (the table below
shows how many batches pass with little signal). Steps as long as Armijo's keep the gradient long; BB's steps shorten it
faster than chance lengthens the batch. At theta 0.7 the test asks for 1 / theta^2 - 1 = 1.04 on average, and the band
holds, with half the updates. The test without the bias (`signal: debiased`) at theta 1 is, term by term, the raw one at
theta 0.71. Fewer updates cost Armijo some of its gap, and BB nothing.

**SGD whose signal-to-noise stays up** has a step so large that its own noise keeps it away from the optimum, or so
small that it has not come near it; its gap shows which.

**Armijo's worst seeds** never reach the whole set. A step is accepted up to 2 (1 - c) = 1.8 over the curvature along
the gradient, so doubling can come to rest near 2 over the largest curvature. There the steepest directions swing
without shrinking: the gradient stays long, the test is passed, the batch does not grow, and the step is seldom halved.

**At equal work** the search is not free: each step costs Armijo a loss of the batch or more, and BB a second gradient
besides. The lines of (c) show what is left of the advantage then: nothing over SGD's best learning rate, a part over
its median, which depends on the grid. What Big Batch saves is the search over the grid, and updates, each of which is a
message between ranks."""
SETTINGS = """\
From first step 1. Passed below: of the batches whose true signal-to-noise was below that when they were cut, those that
passed without another sample. More pieces bring the band no closer: near the optimum of ridge, gradients vary in about
(sum of eigenvalues)^2 / sum of their squares = 21 directions, so a variance of 16 pieces has a standard deviation of
sqrt(2 / (15 * 21)) = 8 %, beside sqrt(2 / 21) = 31 % of |g_B|^2 itself, which no number of pieces changes. So the table
above keeps 8 a rank, the cheapest. The ends of epochs, where a step takes what is left, matter little."""


def document(runs: Sequence[Run], flags: argparse.Namespace, hardware: str, ranks: int) -> str:
    """Returns the page: the tables, and everything that their numbers depend on."""
    began, codes = sorted(run.note["began"] for run in runs), sorted({run.note["code"] for run in runs})
    minutes = sum(run.note["wall_s"] for run in runs) / 60
    lines = [
        "# Big Batch SGD on convex problems",
        "",
        "    export HOROVOD_CYCLE_TIME=0.1 OMPI_MCA_mpi_yield_when_idle=1 OMP_NUM_THREADS=1",
        f"    {command(flags, ranks)}",
        "",
        f"Trained {began[0]} to {began[-1]}, {minutes:.0f} minutes in all, by {', '.join(codes)}",
        f"(+: changed since that commit); {versions()}.",
        f"{hardware}, which other work shares; no number depends on time.",
        "",
        WHAT,
        "",
        *table(runs, flags.passes),
        "",
        MEANING,
        "",
        f"![Gap, batch and signal-to-noise over data passes]({flags.write.with_suffix('.png').name})",
        "",
        "## Claims",
        "",
        *claims(runs, flags.passes),
        "",
        CAUSES,
        "",
        "## Pieces and theta",
        "",
        *setting_table(runs, ranks),
        "",
        SETTINGS,
    ]
    return "\n".join(lines) + "\n"


def command(flags: argparse.Namespace, ranks: int) -> str:
    """Returns the command that repeats the table, without the folders of this machine."""
    write = flags.write if not flags.write.is_absolute() else flags.write.name
    sizes = "" if flags.samples == 8000 else f" --samples {flags.samples}"
    asked = f"--seeds {flags.seeds} --passes {flags.passes}{sizes} --write {write}"
    return f"mpirun -np {ranks} --oversubscribe python benchmarks/big_batch_convex.py {asked}"


def lines_of(runs: Sequence[Run], problem: str) -> Iterator[tuple[str, dict[str, Any], list[Run]]]:
    """Yields label, style and runs of each line in the picture: SGD at its best and median rate, and Big Batch."""
    gaps = sgd_gaps(runs, problem)
    ordered = sorted(gaps, key=lambda rate: gaps[rate])
    for text, rate, colour in (("best", ordered[0], "black"), ("median", ordered[len(ordered) // 2], "grey")):
        yield f"SGD, {text} of {len(ordered)}", {"color": colour}, select(runs, problem=problem, rule="sgd", rate=rate)
    for rule, colour in (("armijo", "tab:blue"), ("bb", "tab:red")):
        for rate, dashes in zip(rates(runs, problem, rule), ("-", "--", ":"), strict=False):
            style = {"color": colour, "linestyle": dashes}
            yield f"{NAMES[rule]} from {rate:g}", style, select(runs, problem=problem, rule=rule, rate=rate)


def middle(runs: Sequence[Run], column: str, passes: np.ndarray) -> np.ndarray:
    """Returns the geometric mean over seeds after each of ``passes``; for ``snr`` over seeds with a batch below N."""
    values = np.stack([run.at(column, passes) for run in runs])  # (seeds, passes)
    if column == "snr":
        values[np.stack([run.at("batch", passes) == run.n_samples for run in runs])] = np.nan
    counted = np.isfinite(values)  # a seed whose batch is the whole set has no noise
    total = np.where(counted, np.log(np.where(counted, values, 1.0)), 0.0).sum(axis=0)
    return np.exp(np.divide(total, counted.sum(axis=0), out=np.full(len(passes), np.nan), where=counted.any(axis=0)))


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Returns the geometric mean over ``width`` neighbours."""
    padded = np.pad(np.log(values), width // 2, mode="edge")
    return np.exp(np.convolve(padded, np.ones(width) / width, mode="valid"))[: len(values)]


def draw(runs: Sequence[Run], passes: int, path: Path) -> None:
    """Draws gap, batch and signal-to-noise over the samples seen, one row of pictures for each problem."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    names = problems(runs)
    figure, axes = pyplot.subplots(len(names), 3, figsize=(12, 3.3 * len(names)), layout="constrained", squeeze=False)
    where = np.linspace(0, passes, GRID_PASSES, endpoint=False)
    for problem, (gap, batch, noise) in zip(names, axes, strict=True):
        for label, style, chosen in lines_of(runs, problem):
            width = 1 + 2 * (GRID_PASSES // passes // 2)
            gap.plot(where, middle(chosen, "gap", where), label=label, linewidth=1.2, **style)
            batch.plot(where, middle(chosen, "batch", where), linewidth=1.2, **style)
            noise.plot(where, smooth(middle(chosen, "snr", where), width), linewidth=1.2, **style)
        gap.set(yscale="log", title=f"{problem}: gap f - f*")
        batch.set(yscale="log", title=f"{problem}: batch (samples)")
        noise.set(yscale="log", title=f"{problem}: true signal-to-noise")
        for axis in (gap, batch, noise):
            axis.grid(alpha=0.3)
            axis.set_xlabel("samples seen, in data passes")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)  # a third of the bytes


def write_report(runs: Sequence[Run], flags: argparse.Namespace, hardware: str, ranks: int) -> None:
    """Prints tables and claims; with ``--write``, writes the page and the picture beside it."""
    print("\n".join([*table(runs, flags.passes), "", *claims(runs, flags.passes), "", *setting_table(runs, ranks)]))
    if flags.write is not None:
        flags.write.parent.mkdir(parents=True, exist_ok=True)
        flags.write.write_text(document(runs, flags, hardware, ranks), encoding="utf-8")
        draw(runs, flags.passes, flags.write.with_suffix(".png"))
        print(f"written to {flags.write}")
