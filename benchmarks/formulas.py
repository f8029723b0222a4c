"""Computes the steps of SGD, LARS and LAMB in float64, from the papers' equations.

SGD     Polyak 1964                the learning rate outside the velocity, as in torch
LARS    1708.03888, Algorithm 1    form A, as in the paper: the learning rate inside the velocity
                                   form C, as in most codes: outside
LAMB    1904.00962, Algorithm 2    with the bias of the moments corrected, or not

Nothing here imports hpc_adabatch: optimizers.py and oracles/ compare it with these steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Tensors = list[torch.Tensor]
MOMENTUM, DECAY, ETA, BETAS, EPS = 0.9, 1e-4, 1e-3, (0.9, 0.999), 1e-6
RATES = {"LARS": (1.0, 4.0, 0.5, 2.0, 0.25, 3.0), "LAMB": (0.01, 0.04, 0.005, 0.02, 0.0025, 0.03)}


class Layer:
    """A tensor of weights on its way.

    Args:
        weight: the first weights.
        adapts: whether it decays and has a trust ratio.
    """

    def __init__(self, weight: torch.Tensor, *, adapts: bool) -> None:
        self.weight, self.adapts = weight.double(), adapts
        self.decay = DECAY if adapts else 0.0
        self.velocity, self.mean, self.square = (torch.zeros_like(self.weight) for _ in range(3))
        self.steps = 0


def sgd(layer: Layer, gradient: torch.Tensor, lr: float) -> None:
    """Takes a step of v <- m v + g + decay w, w <- w - lr v."""
    layer.velocity = MOMENTUM * layer.velocity + gradient + layer.decay * layer.weight
    layer.weight = layer.weight - lr * layer.velocity


def lars(layer: Layer, gradient: torch.Tensor, lr: float, *, form: str = "A") -> None:
    """Takes a step of v <- m v + lr lambda (g + decay w), w <- w - v with lambda = eta |w| / (|g| + decay |w|).

    Args:
        layer: the weights.
        gradient: their gradient, without weight decay.
        lr: the learning rate.
        form: A, or C with the learning rate outside the velocity.
    """
    ratio = 1.0
    if layer.adapts:
        ratio = float(ETA * layer.weight.norm() / (gradient.norm() + layer.decay * layer.weight.norm()))
    inside, outside = (lr, 1.0) if form == "A" else (1.0, lr)
    layer.velocity = MOMENTUM * layer.velocity + inside * ratio * (gradient + layer.decay * layer.weight)
    layer.weight = layer.weight - outside * layer.velocity


def lamb(layer: Layer, gradient: torch.Tensor, lr: float, *, form: str = "") -> None:
    """Takes a step of w <- w - lr |w| / |d| d with d = m^ / (sqrt(v^) + eps) + decay w.

    Args:
        layer: the weights.
        gradient: their gradient, without weight decay.
        lr: the learning rate.
        form: ``uncorrected`` keeps the bias of the moments.
    """
    layer.steps += 1
    first, second = (1.0, 1.0) if form == "uncorrected" else (1 - beta**layer.steps for beta in BETAS)
    layer.mean = BETAS[0] * layer.mean + (1 - BETAS[0]) * gradient
    layer.square = BETAS[1] * layer.square + (1 - BETAS[1]) * gradient**2
    direction = layer.mean / first / ((layer.square / second).sqrt() + EPS) + layer.decay * layer.weight
    ratio = float(layer.weight.norm() / direction.norm()) if layer.adapts else 1.0
    layer.weight = layer.weight - lr * ratio * direction


def adamw(layer: Layer, gradient: torch.Tensor, lr: float) -> None:
    """Takes a step of w <- w - lr (m^ / (sqrt(v^) + eps) + decay w), with the weight decay outside the moments."""
    layer.steps += 1
    layer.mean = BETAS[0] * layer.mean + (1 - BETAS[0]) * gradient
    layer.square = BETAS[1] * layer.square + (1 - BETAS[1]) * gradient**2
    first, second = (1 - beta**layer.steps for beta in BETAS)
    direction = layer.mean / first / ((layer.square / second).sqrt() + EPS)
    layer.weight = layer.weight - lr * (direction + layer.decay * layer.weight)


def draw(weights: Tensors, seed: int) -> Tensors:
    """Draws gradients in the shapes of the weights; a seed gives every optimizer the same ones."""
    source = torch.Generator().manual_seed(seed)
    return [(0.01 * torch.randn(weight.shape, generator=source)).to(weight) for weight in weights]


FORMS = {"LARS": {"form A": "A", "form C": "C"}, "LAMB": {"Algorithm 2": "", "without bias correction": "uncorrected"}}
STEPS: dict[str, Callable[..., None]] = {"LARS": lars, "LAMB": lamb}


def ends(formula: str, weights: Tensors, adapts: Sequence[bool]) -> dict[str, Tensors]:
    """Returns the last weights of each form of a formula, on a CPU.

    Args:
        formula: a name in RATES.
        weights: the first weights.
        adapts: for each tensor, whether it decays and has a trust ratio.
    """
    weights = [weight.detach().cpu() for weight in weights]
    found = {}
    for name, form in FORMS[formula].items():
        layers = [Layer(weight, adapts=own) for weight, own in zip(weights, adapts, strict=True)]
        for step, lr in enumerate(RATES[formula]):
            for layer, gradient in zip(layers, draw(weights, step), strict=True):
                STEPS[formula](layer, gradient.double(), lr, form=form)
        found[name] = [layer.weight for layer in layers]
    return found
