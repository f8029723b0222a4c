"""Computes in float64 where the formulas of LARS and LAMB lead, with a learning rate that changes.

LARS    1708.03888, Algorithm 1    form A, as in the paper: the learning rate inside the momentum
                                   form C, as in most codes: outside
LAMB    1904.00962, Algorithm 2    with the bias of the moments corrected, or not
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Tensors = list[torch.Tensor]
MOMENTUM, DECAY, ETA, BETAS, EPS = 0.9, 1e-4, 1e-3, (0.9, 0.999), 1e-6
RATES = {"LARS": (1.0, 4.0, 0.5, 2.0, 0.25, 3.0), "LAMB": (0.01, 0.04, 0.005, 0.02, 0.0025, 0.03)}


def draw(weights: Tensors, seed: int) -> Tensors:
    """Draws gradients in the shapes of the weights; a seed gives every optimizer the same ones."""
    source = torch.Generator().manual_seed(seed)
    return [(0.01 * torch.randn(weight.shape, generator=source)).to(weight) for weight in weights]


def lars_steps(weights: Tensors, adapts: Sequence[bool], given: Callable[[int], Tensors], form: str) -> Tensors:
    """Returns the weights after Algorithm 1 of LARS, in float64.

    Args:
        weights: the first weights.
        adapts: for each tensor, whether it decays and has a trust ratio.
        given: returns the gradients of a step.
        form: A, or C with the learning rate outside the momentum.
    """
    weights = [weight.double() for weight in weights]
    velocities = [torch.zeros_like(weight) for weight in weights]
    for step, lr in enumerate(RATES["LARS"]):
        for n, gradient in enumerate(given(step)):
            direction, ratio = gradient.double(), 1.0
            if adapts[n]:
                long = weights[n].norm()
                ratio = float(ETA * long / (direction.norm() + DECAY * long))
                direction = direction + DECAY * weights[n]
            inside, outside = (lr, 1.0) if form == "A" else (1.0, lr)
            velocities[n] = MOMENTUM * velocities[n] + inside * ratio * direction
            weights[n] = weights[n] - outside * velocities[n]
    return weights


def lamb_steps(weights: Tensors, adapts: Sequence[bool], given: Callable[[int], Tensors], form: str) -> Tensors:
    """Returns the weights after Algorithm 2 of LAMB, in float64; ``uncorrected`` keeps the bias of the moments."""
    weights = [weight.double() for weight in weights]
    means, squares = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    for step, lr in enumerate(RATES["LAMB"]):
        first, second = (1.0, 1.0) if form == "uncorrected" else (1 - beta ** (step + 1) for beta in BETAS)
        for n, gradient in enumerate(given(step)):
            means[n] = BETAS[0] * means[n] + (1 - BETAS[0]) * gradient.double()
            squares[n] = BETAS[1] * squares[n] + (1 - BETAS[1]) * gradient.double() ** 2
            direction, ratio = means[n] / first / ((squares[n] / second).sqrt() + EPS), 1.0
            if adapts[n]:
                direction = direction + DECAY * weights[n]
                ratio = float(weights[n].norm() / direction.norm())
            weights[n] = weights[n] - lr * ratio * direction
    return weights


FORMS = {"LARS": {"form A": "A", "form C": "C"}, "LAMB": {"Algorithm 2": "", "without bias correction": "uncorrected"}}
STEPS = {"LARS": lars_steps, "LAMB": lamb_steps}


def ends(formula: str, weights: Tensors, adapts: Sequence[bool]) -> dict[str, Tensors]:
    """Returns the last weights of each form of a formula, on a CPU.

    Args:
        formula: a name in RATES.
        weights: the first weights.
        adapts: for each tensor, whether it decays and has a trust ratio.
    """
    weights = [weight.detach().cpu() for weight in weights]
    return {
        name: STEPS[formula](weights, adapts, lambda step: draw(weights, step), form)
        for name, form in FORMS[formula].items()
    }
