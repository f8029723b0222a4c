"""The two formulas that pass over all numbers of a model: velocities, and Adam's directions.

Memory bounds their speed, so the number of times that a tensor is read and written counts. torch's fused kernels do so
once; they are used if torch has them, the tensors are contiguous and the formula fits. Otherwise the same formula is
computed by a few operations in place.

    velocities:  v <- m v + s (g + beta w);  w <- w - pull v
                 is SGD with learning rate ``pull`` and dampening 1 - s: the rate s enters the velocity itself
    directions:  m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  d <- d + m^ / (sqrt(v^) + eps)
                 is Adam of a parameter d with learning rate -1
"""

from __future__ import annotations

import functools
import math

import torch

Tensors = list[torch.Tensor]

LEAST_RATE = {torch.float32: 2.0**-30, torch.float64: 2.0**-14}  # from there 1 - (1 - s) is s to half an ulp, to 1e-12


def momentum_step(
    weights: Tensors,
    gradients: Tensors,
    velocities: Tensors,
    *,
    momentum: float,
    rate: float,
    decay: float,
    pull: float = 1.0,
) -> None:
    """Updates velocities, then weights, in place.

    Args:
        weights: Weights of the layers: float32 or float64, all on one device.
        gradients: Gradients of the same shapes, type and device; only read.
        velocities: Velocities of the same shapes, type and device.
        momentum: Part of the velocity that stays (m).
        rate: Factor of the gradient in the velocity (s), 0 or more.
        decay: Weight decay (beta).
        pull: Factor of the velocity in the step of the weights.
    """
    exact = rate == 0 or rate >= LEAST_RATE[weights[0].dtype]
    if exact and _fusible(weights, gradients, velocities):
        _fused_momentum_step(weights, gradients, velocities, momentum, rate, decay, pull)
        return
    torch._foreach_mul_(velocities, momentum)
    torch._foreach_add_(velocities, gradients, alpha=rate)
    if decay:
        torch._foreach_add_(velocities, weights, alpha=rate * decay)
    torch._foreach_sub_(weights, velocities, alpha=pull)


def _fused_momentum_step(
    weights: Tensors, gradients: Tensors, velocities: Tensors, momentum: float, rate: float, decay: float, pull: float
) -> None:
    torch._fused_sgd_(
        weights,
        gradients,
        velocities,
        weight_decay=decay,
        momentum=momentum
        or torch.finfo(torch.float64).tiny,  # at 0 the kernel keeps no velocity; a denormal may count as 0
        lr=pull,
        dampening=1 - rate,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )


def add_adam(
    directions: Tensors,
    gradients: Tensors,
    means: Tensors,
    squares: Tensors,
    *,
    betas: tuple[float, float],
    eps: float,
    corrections: tuple[float, float],
) -> None:
    """Updates the moments, then adds Adam's directions to ``directions``, in place.

    Args:
        directions: Tensors to add to: float32 or float64, all on one device.
        gradients: Gradients of the same shapes, type and device; only read.
        means: First moments (m) of the same shapes, type and device.
        squares: Second moments (v) of the same shapes, type and device.
        betas: Parts of the first and second moments that stay (b1, b2).
        eps: Number added to the root of the second moment, more than 0.
        corrections: Numbers by which the new moments are divided (1 - b1^t, 1 - b2^t); 1 without bias correction.
    """
    (beta1, beta2), (first, second) = betas, corrections
    if _fusible(directions, gradients, means, squares):
        endless = torch.full((), math.inf, dtype=torch.float32, device=directions[0].device)
        torch._fused_adam_(
            directions,
            gradients,
            means,
            squares,
            [],
            [endless] * len(directions),  # the kernel's own correction has one beta for all steps
            lr=-math.sqrt(second) / first,
            beta1=beta1,
            beta2=beta2,
            weight_decay=0.0,
            eps=eps * math.sqrt(second),
            amsgrad=False,
            maximize=False,
        )
        return
    torch._foreach_lerp_(means, gradients, 1 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
    denominators = torch._foreach_sqrt(squares)
    torch._foreach_div_(denominators, math.sqrt(second))
    torch._foreach_add_(denominators, eps)
    torch._foreach_addcdiv_(directions, means, denominators, value=1 / first)


def _fusible(*lists: Tensors) -> bool:
    """Reports whether torch has the kernels and all tensors are contiguous, since the kernels know no strides."""
    return has_fused(lists[0][0].device.type) and all(tensor.is_contiguous() for one in lists for tensor in one)


@functools.cache
def has_fused(device: str) -> bool:
    """Reports whether torch has the fused kernels for this type of device; for CPUs since torch 2.4."""
    weights, gradients, velocities = ([torch.zeros(1, device=device)] for _ in range(3))
    try:
        _fused_momentum_step(weights, gradients, velocities, 0.0, 0.0, 0.0, 0.0)
    except (AttributeError, RuntimeError):
        return False
    return True
