"""Cases: where the optimizers lead, beside the papers' steps along gradients of autograd in float64.

The oracle walks by itself from the network's first weights. From the package it takes which samples are in a batch, and
the learning rate, which rates.py checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import hpc_adabatch as hab
from hpc_adabatch.optim.options import AdamwOptions, ArmijoOptions

from ..formulas import BETAS, DECAY, EPS, MOMENTUM, Layer, adamw, lamb, lars, sgd
from .case import Case, Pair
from .equations import search
from .equations.rules import written
from .problem import Problem, first_weights, flat, shaped
from .watch import Run, watch

Sides = Callable[[hab.Cluster], Pair]
GROWTH = ((0, 8), (40, 22), (120, 13))  # first sample, batch: inside epochs of 60 samples, so each ends with a rest
GROWING = "0:8 40sa:22 120sa:13"
UNEVEN = "B = 8, 22, 13 of 60 in passes of at most 5"


def followed(run: Run, step: Callable[[Layer, torch.Tensor, float], None]) -> torch.Tensor:
    """Returns the weights after all steps, along the mean gradient of each batch at the weights of this walk."""
    layers = {name: Layer(weight, adapts=weight.ndim > 1) for name, weight in first_weights().items()}
    for taken in run.steps:
        if taken.skipped:
            continue
        weights = {name: layer.weight for name, layer in layers.items()}
        gradient = shaped(run.problem.gradients(weights)[taken.samples].mean(0), weights)
        for name, layer in layers.items():
            step(layer, gradient[name], taken.lr)
    return flat({name: layer.weight for name, layer in layers.items()})


def optimizer(step: Callable[..., None], build: Callable[[nn.Module], torch.optim.Optimizer], **how: Any) -> Sides:
    """Returns the sides of a case: the way from the first weights to the last, of the oracle and of the package."""

    def sides(cluster: hab.Cluster) -> Pair:
        run = watch(
            cluster,
            Problem(60),
            batch=8,
            micro=5,
            epochs=4,
            optimizer=build,
            rule=lambda: hab.Schedule(text=GROWING),
            rate=hab.LearningRate(scaling="sqrt", decay="poly", epochs=4),
            **how,
        )
        start = flat(first_weights())
        return followed(run, step) - start, run.weights() - start

    return sides


def momentum(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(hab.parameter_groups(model, DECAY), lr=0.05, momentum=MOMENTUM)


def layerwise(model: nn.Module) -> torch.optim.Optimizer:
    return hab.LARS(hab.parameter_groups(model, DECAY), lr=3.0, momentum=MOMENTUM)


def corrected(model: nn.Module) -> torch.optim.Optimizer:
    return hab.LARS(hab.parameter_groups(model, DECAY), lr=3.0, momentum=MOMENTUM, momentum_correction=True)


def adaptive(model: nn.Module) -> torch.optim.Optimizer:
    return hab.LAMB(hab.parameter_groups(model, DECAY), lr=0.02, betas=BETAS, eps=EPS)


def decoupled(model: nn.Module) -> torch.optim.Optimizer:
    return AdamwOptions(lr=0.02, weight_decay=DECAY, beta1=BETAS[0], beta2=BETAS[1], eps=EPS).build(model)


def outside(layer: Layer, gradient: torch.Tensor, lr: float) -> None:
    """Takes a step of LARS with the learning rate outside the velocity, which Goyal's correction amounts to."""
    lars(layer, gradient, lr, form="C")


def searched(decay: float = 0.0, rise: float = 1.0, **how: Any) -> Sides:
    """Returns the sides of a case: the step sizes accepted, then all weights.

    Args:
        decay: weight decay of weights, which belongs to the objective.
        rise: gamma of Vaswani et al. 1905.09997; 1 for doubling once the batch has grown.
        how: what else ``watch`` takes.
    """
    options = ArmijoOptions(lr=4.0, weight_decay=decay, rise=rise)

    def sides(cluster: hab.Cluster) -> Pair:
        run = watch(
            cluster,
            Problem(60),
            batch=8,
            micro=5,
            epochs=3,
            optimizer=options.build,
            search=options.step_size,
            rule=lambda: hab.Schedule(text=GROWING),
            **how,
        )
        weights = first_weights()
        decays = flat({name: torch.full_like(w, decay if w.ndim > 1 else 0.0) for name, w in weights.items()})
        x, alpha, before, cursor, found = flat(weights), 4.0, 8, 0, []
        for taken in run.steps:
            planned = written(GROWTH, cursor)
            cursor += taken.batch

            def loss(x: torch.Tensor, samples: list[int] = taken.samples) -> float:
                return run.problem.loss(shaped(x, weights), samples) + float((decays * x * x).sum()) / 2

            if not taken.skipped:
                gradient = run.problem.gradients(shaped(x, weights))[taken.samples].mean(0) + decays * x
                first = alpha * rise ** (taken.batch / 60) if rise > 1 else alpha * (2 if planned > before else 1)
                accepted = search.backtracked(loss, x, gradient, first)
                x = x - accepted * gradient
                alpha, before = accepted, planned
            found.append(alpha)
        return [*found, *x.tolist()], [*(taken.step_size for taken in run.steps), *run.weights().tolist()]

    return sides


YOU, LAMB, DE = "You et al. 1708.03888", "You et al. 1904.00962", "De et al. 1610.05792"
EVENTS: dict[str, dict[str, Any]] = {
    f"{UNEVEN}; each epoch ends with a rest": {},
    "the same; steps 3 and 9 are skipped": {"spoiled": (2, 8)},
    "the same; a restart in the middle of an epoch": {"restarts": (4,)},
}
OPTIMIZERS = (
    ("Polyak 1964", "SGD with momentum", sgd, momentum),
    (f"{YOU}, Algorithm 1", "LARS", lars, layerwise),
    (f"{LAMB}, Algorithm 2", "LAMB", lamb, adaptive),
    ("Loshchilov & Hutter 1711.05101, Algorithm 2", "AdamW", adamw, decoupled),
)
CASES = [
    *(
        Case(paper=paper, text=f"{name}, all weights: {event}", run=optimizer(step, build, **how), quick=not how)
        for paper, name, step, build in OPTIMIZERS
        for event, how in EVENTS.items()
    ),
    Case(
        paper="Goyal et al. 1706.02677, section 3",
        text=f"LARS with momentum correction, as with the rate outside the velocity: {UNEVEN}",
        run=optimizer(outside, corrected),
    ),
    Case(
        paper=f"{DE}, Algorithm 2",
        text=f"Armijo: step sizes and all weights, decay in the objective: {UNEVEN}",
        run=searched(decay=0.01),
    ),
    Case(
        paper=f"{DE}, Algorithm 2",
        text="the same; step 3 is skipped, a restart after step 5",
        run=searched(decay=0.01, spoiled=(2,), restarts=(4,)),
    ),
    Case(
        paper="Vaswani et al. 1905.09997, Algorithm 2",
        text=f"Armijo whose first try rises by 2 an epoch: {UNEVEN}",
        run=searched(rise=2.0),
    ),
]
