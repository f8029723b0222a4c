"""Which parameters decay and adapt, and which take plain SGD steps.

Biases and the gains of normalisation layers have small norms and no use for either: excluded from weight decay and
trust ratios, ResNet-50 at batch 8K gains almost two points (PaddlePaddle #26733). Said here once and explicitly,
instead of guessed from ``weight_decay == 0`` or from the number of dimensions inside an optimizer.

Not here: what the options do (lars.py).
"""

from __future__ import annotations

from typing import Any

from torch import nn

NORMALISATION = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: weights with decay and adaptation; vectors, scalars and normalisation parameters with neither.

    Args:
        model: its trainable parameters are taken, in order.
        weight_decay: of the first group.
    """
    normalising = {
        id(p) for module in model.modules() if isinstance(module, NORMALISATION) for p in module.parameters()
    }
    weights: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (others if parameter.ndim <= 1 or id(parameter) in normalising else weights).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": weight_decay, "adapt": True},
        {"params": others, "weight_decay": 0.0, "adapt": False},
    ]
    return [group for group in groups if group["params"]]
