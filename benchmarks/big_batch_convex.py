"""Trains ridge and logistic regression with Big Batch SGD and with SGD, for docs/results/big-batch-convex.md.

    export HOROVOD_CYCLE_TIME=0.1 OMPI_MCA_mpi_yield_when_idle=1 OMP_NUM_THREADS=1
    mpirun -np 2 --oversubscribe python benchmarks/big_batch_convex.py [--write docs/results/big-batch-convex.md]

De, Yadav, Jacobs & Goldstein 2017, https://arxiv.org/abs/1610.05792, section 6. Every way of training starts with a
batch of 32 and sees each sample once a pass. Big Batch SGD takes its step sizes from a constant, from Armijo's rule or
from Barzilai & Borwein's, whose first tries are 10^4 apart; SGD takes seven learning rates. Momentum and weight decay
are 0: the penalty is in the loss. The truth about each step is computed from the gradients of all samples.

A step of such small models is mostly waiting: for Horovod's next cycle, which takes 1 ms by default, and for the other
rank where two share a core. Hence the variables above. Each finished run is kept in OUT as a file, so the command can
be stopped at any time, and the next start continues with the missing runs.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import torch
from big_batch_claims import Run
from big_batch_report import write_report
from cells import code, write
from machine import machine

from hpc_adabatch import AdaptiveBatches, AdaptiveTraining, Armijo, BarzilaiBorwein, BigBatch, Cluster, Fixed
from hpc_adabatch.cluster.processors import cores
from hpc_adabatch.tasks import Logistic, Ridge
from hpc_adabatch.tasks.convex import Convex
from hpc_adabatch.training.step import Step

PROBLEMS: dict[str, type[Convex]] = {"ridge": Ridge, "logistic": Logistic}
START_BATCH = 32
FIRST_STEPS = (0.01, 1.0, 100.0)  # alpha0 of Armijo and Barzilai-Borwein
FIXED_STEPS = (0.05, 0.5)
GRID = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # learning rates of SGD: from too small to too large
RECORDS = 300  # of a run of SGD; each step of the others is recorded
HOPELESS = 1e3  # times the gap at the start: SGD that has come there is not followed further


@dataclass(frozen=True, kw_only=True)
class Way:
    """A problem and a way to train it."""

    problem: str
    rule: Literal["sgd", "fixed", "armijo", "bb"]
    """The rule for the step size: sgd (fixed batch, fixed step), or Big Batch SGD with fixed, armijo or bb."""
    rate: float
    """The step size of sgd and fixed; the first step size of armijo and bb."""
    pieces: int = 8
    """The number of pieces of a rank's share whose gradients are told apart."""
    theta: float = 1.0

    def training(self, model: torch.nn.Module, batches: AdaptiveBatches, cluster: Cluster) -> AdaptiveTraining:
        policy = BigBatch(theta=self.theta, pieces=self.pieces)
        step_size = {"armijo": Armijo, "bb": BarzilaiBorwein}.get(self.rule)
        return AdaptiveTraining(
            model,
            torch.optim.SGD(model.parameters(), lr=self.rate),
            batches,
            cluster=cluster,
            policy=Fixed() if self.rule == "sgd" else policy,
            step_size=step_size(self.rate) if step_size is not None else None,
        )


def main_ways() -> list[Way]:
    """Returns the rows of the table."""
    rules: dict[Any, tuple[float, ...]] = {"fixed": FIXED_STEPS, "armijo": FIRST_STEPS, "bb": FIRST_STEPS, "sgd": GRID}
    return [
        Way(problem=problem, rule=rule, rate=rate)
        for problem in PROBLEMS
        for rule, rates in rules.items()
        for rate in rates
    ]


def setting_ways() -> list[Way]:
    """Returns the rows with other numbers of pieces and other theta."""
    settings: list[dict[str, Any]] = [{"pieces": 16}, {"pieces": 32}, {"theta": 0.7}]
    rules: tuple[Any, ...] = ("armijo", "bb")
    return [
        Way(problem=problem, rule=rule, rate=1.0, **setting)
        for setting in settings
        for problem in PROBLEMS
        for rule in rules
    ]


class Truth:
    """The gap and the gradient over all samples, at the present weights of the model."""

    def __init__(self, task: Convex, model: torch.nn.Module) -> None:
        self._task, self._model = task, model
        self._features, self._targets = task.load().train.tensors  # type: ignore[attr-defined]
        self._lengths = self._features.square().sum(dim=1)  # (samples,)

    def gradient(self) -> tuple[float, float]:
        """Returns |grad l|^2 and tr Var over samples; the gradient of sample i is slope_i x_i + penalty w."""
        weight, penalty = next(self._model.parameters()).detach()[0], self._task.penalty
        predictions = self._features @ weight  # (samples,)
        expected = predictions if isinstance(self._task, Ridge) else predictions.sigmoid()
        slopes = expected - self._targets
        mean = slopes @ self._features / len(slopes) + penalty * weight  # (features,)
        squares = slopes.square() * self._lengths + 2 * penalty * slopes * predictions
        square = float(mean @ mean)
        return square, float(squares.mean() + penalty**2 * (weight @ weight)) - square

    @torch.no_grad()
    def gap(self) -> float:
        return float(self._task.score(self._model(self._features), self._targets)) / len(self._targets)


def train(way: Way, seed: int, samples: int, passes: int, cluster: Cluster) -> dict[str, Any]:
    """Trains one run and returns the content of its file. ``seed`` draws the data and the order of the samples.

    The columns of ``steps`` hold values before each step; ``batch`` holds the samples that the step took in the end.
    """
    task = PROBLEMS[way.problem](samples=samples, features=50, condition=100, penalty=1e-3, data_seed=seed)
    data = task.load()
    model = task.model("linear", data)
    batches = AdaptiveBatches(data.train, START_BATCH, max_micro_batch=samples, seed=seed)
    training, truth = way.training(model, batches, cluster), Truth(task, model)
    every = 1 if way.rule != "sgd" else max(1, samples * passes // START_BATCH // RECORDS)
    steps: list[dict[str, float]] = []
    touched, start_gap = 0, truth.gap()
    for epoch in range(passes):
        for step in training.epoch(epoch):
            row: dict[str, float] = {"samples": training.plan.samples_seen, "touched": touched}
            if cluster.leads and training.steps % every == 0:
                row["gap"], (square, variance) = truth.gap(), truth.gradient()
                steps.append(row)
            touched += take(step, training, way, task)
            if steps and steps[-1] is row:
                row |= {"batch": len(step.batch), "global_batch": training.global_batch, "alpha": training.last_rate}
                row["snr"] = len(step.batch) * square / variance
        if cluster.announce([float(not truth.gap() < HOPELESS * start_gap)])[0]:
            break
    gap = truth.gap()
    return {
        "gap": gap if math.isfinite(gap) else None,
        "diverged": not gap < start_gap,
        "updates": training.steps,
        "samples": training.plan.samples_seen,
        "touched": touched,
        "steps": {name: [clean(row[name]) for row in steps] for name in (steps[0] if steps else ())},
    }


def take(step: Step, training: AdaptiveTraining, way: Way, task: Convex) -> int:
    """Takes one step. Returns the number of samples whose loss was computed for it, with or without its gradient."""
    before = training.line_search.evaluations
    for inputs, targets in step:
        step.backward(task.loss(training.model(inputs), targets))
    step.update()
    gradients = 2 if way.rule == "bb" and training.last_rate > 0 else 1  # at both ends of the step
    return gradients * len(step.batch) + training.line_search.evaluations - before


def clean(value: float) -> float | None:
    """Rounds to six digits; None for what is not finite, which JSON cannot hold."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def kept(way: Way, seed: int, flags: argparse.Namespace, cluster: Cluster) -> Run | None:
    """Returns the run on rank 0, None on others; trains it first where it has no file."""
    asked = asdict(way) | {"seed": seed, "samples": flags.samples, "passes": flags.passes, "ranks": cluster.size}
    name = f"{way.problem}-{way.rule}-{way.rate:g}-{way.pieces}-{way.theta:g}-s{seed}.json"
    path: Path = flags.out / name
    note: dict[str, Any] | None = None
    if cluster.leads and path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        note = found if found["asked"] == asked else None
    if not cluster.announce([float(note is not None)])[0]:
        began, began_s = f"{datetime.now():%Y-%m-%d %H:%M}", time.monotonic()
        numbers = train(way, seed, flags.samples, flags.passes, cluster)
        if cluster.leads:
            note = {"asked": asked, "code": code(), "began": began, "wall_s": time.monotonic() - began_s} | numbers
            write(path, note)
            print(
                f"{path.stem}: gap {numbers['gap']}, {numbers['updates']} updates, {note['wall_s']:.1f} s", flush=True
            )
    return Run(note) if note is not None else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0 on")
    parser.add_argument("--passes", type=int, default=30, help="number of epochs")
    parser.add_argument("--samples", type=int, default=8000, help="number of samples of the training set")
    parser.add_argument("--out", type=Path, default=Path("runs/big-batch-convex"))
    parser.add_argument("--write", type=Path, help="the table's file; printed when not given")
    flags = parser.parse_args()
    cluster = Cluster.start()
    if cluster.leads:
        flags.out.mkdir(parents=True, exist_ok=True)
    ways = [*main_ways(), *setting_ways()]
    found = [kept(way, seed, flags, cluster) for seed in range(flags.seeds) for way in ways]
    runs = [run for run in found if run is not None]
    n_cores = len(frozenset().union(*cluster.gather(cores())))  # mpirun may bind each rank to one
    if cluster.leads:
        write_report(runs, flags, machine(cluster.size, n_cores), cluster.size)
    cluster.stop()


if __name__ == "__main__":
    main()
