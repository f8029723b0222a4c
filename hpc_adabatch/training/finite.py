"""Which gradients are read at every step, to see whether they are finite.

Those of the smaller tensors: what makes the gradient of a weight infinite reaches the biases and gains beside it, whose
gradients are sums of the same numbers. A large tensor alone, such as an embedding, goes unnoticed until the next
measured step. A message that is small is read as it is, in place of the gradients in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

GUARDED = 2**18  # elements of the largest tensors that are read at every step
WHOLE = 2**20  # elements of the largest messages that are


def small(parameters: Iterable[nn.Parameter], largest: int) -> list[torch.Tensor]:
    """Returns the gradients that there are of tensors of at most so many elements."""
    return [p.grad for p in parameters if p.grad is not None and p.numel() <= largest]


def are_finite(gradients: list[torch.Tensor]) -> bool:
    """Reports whether all numbers of some tensors are finite."""
    gradients = [gradient for gradient in gradients if gradient.numel()]
    if not gradients:
        return True
    for order in (2, math.inf):  # squares overflow sooner than numbers, but are summed 20 times as fast on CPUs
        lengths = [length.float() for length in torch._foreach_norm(gradients, order)]
        if math.isfinite(float(torch.stack(lengths).max())):
            return True
    return False
