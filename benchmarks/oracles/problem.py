"""The problem that the oracles and the package both solve: a small network on drawn samples, in float64.

    loss of a sample      mean over the outputs of (output - target)^2
    gradient of a sample  by torch.func.grad and vmap, flattened over all 39 parameters
    gradient of a batch   the mean of its samples' gradients

Not here: anything of hpc_adabatch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

INPUTS, HIDDEN, OUTPUTS = 5, 4, 3
Weights = dict[str, torch.Tensor]


def network() -> nn.Module:
    """Returns the network; its first weights are the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, OUTPUTS)).double()


class Problem:
    """Drawn samples, with the loss and the gradient of each at given weights.

    Args:
        samples: number of samples, N.
        seed: seed of the draw.
    """

    def __init__(self, samples: int, *, seed: int = 0) -> None:
        source = torch.Generator().manual_seed(seed)
        self.samples = samples
        self.inputs = torch.randn(samples, INPUTS, generator=source, dtype=torch.float64)
        self.targets = torch.randn(samples, OUTPUTS, generator=source, dtype=torch.float64)

    def gradients(self, weights: Weights) -> torch.Tensor:
        """Returns the gradient of each sample at the weights. Shape (N, parameters)."""
        found = vmap(grad(_loss), in_dims=(None, 0, 0))(weights, self.inputs, self.targets)
        return torch.cat([found[name].flatten(1) for name in weights], dim=1)

    def pieces(self, weights: Weights, parts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Returns the gradients of the samples of each part, each of shape (samples, parameters)."""
        every = self.gradients(weights)
        return [every[list(part)] for part in parts]

    def loss(self, weights: Weights, samples: Sequence[int]) -> float:
        """Returns the mean loss of the samples at the weights."""
        losses = vmap(_loss, in_dims=(None, 0, 0))(weights, self.inputs[list(samples)], self.targets[list(samples)])
        return float(losses.mean())


def first_weights() -> Weights:
    """Returns the network's first weights, by name."""
    return {name: parameter.detach().clone() for name, parameter in network().named_parameters()}


def flat(weights: Weights) -> torch.Tensor:
    """Returns all weights in one row. Shape (parameters,)."""
    return torch.cat([weight.flatten() for weight in weights.values()])


def shaped(row: torch.Tensor, like: Weights) -> Weights:
    """Returns a row of numbers in the shapes of the weights."""
    parts = row.split([weight.numel() for weight in like.values()])
    return {name: part.view_as(weight) for part, (name, weight) in zip(parts, like.items(), strict=True)}


def _loss(weights: Weights, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns the loss of one sample."""
    return (functional_call(_NETWORK, weights, (inputs,)) - targets).pow(2).mean()


_NETWORK = network()
