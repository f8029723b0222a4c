"""The loss of a pass, as a script hands it over: checked, with what it is a mean over."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ..errors import require
from .feed import Micro

Loss = Callable[..., Any]
"""Takes a micro-batch, of a tuple its parts; returns the mean loss, or that and the number that it is a mean over."""

LossOf = Callable[[Micro], tuple[torch.Tensor, Any]]
"""Takes a micro-batch; returns the mean loss, and what it is a mean over: None for its samples."""


def loss_of(loss: Loss) -> LossOf:
    """Returns a script's function in one form."""

    def of(micro_batch: Micro) -> tuple[torch.Tensor, Any]:
        found = loss(*micro_batch) if isinstance(micro_batch, tuple) else loss(micro_batch)
        return found if isinstance(found, tuple) else (found, None)

    return of


def check_loss(loss: torch.Tensor, *, of_gradient: bool) -> None:
    """Checks the loss of a pass.

    Args:
        loss: The loss.
        of_gradient: True where a gradient is taken of it.

    Raises:
        InputError: It is no tensor of one number, or has no graph.
    """
    is_number = isinstance(loss, torch.Tensor) and loss.numel() == 1
    given = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
    require(is_number, "loss", given, "a tensor of one number, the mean over the micro-batch", "loss.mean()")
    has_graph = loss.requires_grad or not of_gradient
    allowed = "one that the model's parameters lead to, without no_grad(), detach() or item() on the way"
    require(has_graph, "loss", "a tensor without a graph", allowed, "step.backward(loss_fn(model(inputs), targets))")


def checked(weight: float) -> float:
    """Returns the weight of a pass.

    Raises:
        InputError: It is negative or not finite.
    """
    require(weight >= 0 and math.isfinite(weight), "weight", weight, "what the loss is a mean over, 0 or more")
    return weight
