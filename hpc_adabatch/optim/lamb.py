"""LAMB: Adam's direction, with a step for each layer that is proportional to the length of its weights.

You, Li, Reddi, Hseu, Kumar, Bhojanapalli, Song, Demmel, Keutzer & Hsieh 2020, https://arxiv.org/abs/1904.00962,
Algorithm 2.

    paper          here                     meaning
    eta            lr                       length of a layer's step over the length of its weights
    beta_1, 2      betas                    part of the moments that stays
    epsilon        eps
    lambda         weight_decay             added to the direction, not to the gradient
    m, v           exp_avg, exp_avg_sq      b1 m + (1 - b1) g;  b2 v + (1 - b2) g^2
    r              Adam's direction         m^ / (sqrt(v^) + eps),  m^ = m / (1 - b1^t),  v^ = v / (1 - b2^t)
    phi(|x|)       |x|                      the identity; ``max_trust_ratio`` bounds phi(|x|) / |r + lambda x| instead

    x <- x - eta phi(|x|) / |r + lambda x| (r + lambda x)            the ratio is 1 if one of the lengths is 0

A layer's step has the length eta |x|, whatever its gradient. If the gradient has always been 0, the direction is
lambda x, and each step shrinks the weights by the part eta, whatever lambda is. Groups that do not adapt have ratio 1:
this is AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101), whose decay is lr lambda x as well.

The learning rate stands outside the moments, so a jump of it applies to the whole direction at once, and LAMB needs
nothing like LARS's ``momentum_correction``.

Where betas change between steps, b^t is their product: the part of the moments that is still the 0 of the beginning.

A checkpoint holds m and v, without bias correction, as ``exp_avg`` and ``exp_avg_sq``; groups hold t as ``step`` and
both products as ``beginning``.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch.optim.optimizer import ParamsT

from ..errors import real, require
from .kernels import Tensors, add_adam
from .layerwise import Group, Layerwise, check_flags


class LAMB(Layerwise):
    """LAMB: Adam with decoupled weight decay and a trust ratio for each parameter.

    With Horovod, pass this optimizer to ``DistributedOptimizer``, not the reverse.

    Args:
        params: Parameters, or groups of them; ``parameter_groups`` makes the two usual groups.
        lr: Learning rate (eta): with a trust ratio, a layer's step length divided by its weight length.
        betas: Parts of the first and second moments that stay, each 0 to below 1.
        eps: Number added to the root of the second moment; with 0, a weight that never had a gradient has direction 0.
        weight_decay: Weight decay (lambda).
        adapt: False for groups whose trust ratio is 1, which is AdamW.
        bias_correction: Divides the moments by 1 - beta^t, t being the steps in which the group had gradients; by 1
            less the product of betas that change.
        max_trust_ratio: Upper bound of trust ratios; no bound if 0 or None.

    Attributes:
        trust_ratios: None; if it is set to a dict, each step fills it with the trust ratio of each adapted parameter.

    Raises:
        InputError: An option is out of range.
        RuntimeError: A gradient is sparse or complex (in ``step``).
    """

    state_names: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        adapt: bool = True,
        bias_correction: bool = True,
        max_trust_ratio: float | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "adapt": adapt,
            "bias_correction": bias_correction,
            "max_trust_ratio": max_trust_ratio or 0.0,
            "step": 0,
            "beginning": (1.0, 1.0),
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        for name in ("lr", "weight_decay", "eps"):
            require(0 <= real(group[name]) < math.inf, f"optimizer.{name}", group[name], "0 or more")
        largest = group["max_trust_ratio"]
        good = largest is None or 0 <= real(largest) < math.inf
        require(good, "optimizer.max_trust_ratio", largest, "0 or more, or None")
        betas = group["betas"]
        good = isinstance(betas, (tuple, list)) and len(betas) == 2 and all(0 <= real(beta) < 1 for beta in betas)
        require(good, "optimizer.betas", betas, "two, each 0 to below 1", "betas=(0.9, 0.999)")
        check_flags(group, "adapt", "bias_correction")

    def step_group(self, group: Group) -> None:
        if any(parameter.grad is not None for parameter in group["params"]):
            group["step"] += 1
            group["beginning"] = tuple(a * b for a, b in zip(group["beginning"], group["betas"], strict=True))
        super().step_group(group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:  # checkpoints of before it was kept
            group.setdefault("beginning", tuple(beta ** group["step"] for beta in group["betas"]))

    def ratio(self, weight_norm: Any, direction_norm: Any, group: Group) -> Any:
        ratio, largest = weight_norm / direction_norm, group["max_trust_ratio"]
        if not largest:
            return ratio
        return ratio.clamp(max=largest) if isinstance(ratio, torch.Tensor) else min(ratio, largest)

    def directions(self, layers: Tensors, weights: Tensors, gradients: Tensors, group: Group) -> Tensors:
        directions = list(torch._foreach_mul(weights, group["weight_decay"]))
        first, second = group["beginning"]
        corrections = (1 - first, 1 - second) if group["bias_correction"] else (1.0, 1.0)
        add_adam(
            directions,
            gradients,
            [self.state[layer]["exp_avg"] for layer in layers],
            [self.state[layer]["exp_avg_sq"] for layer in layers],
            betas=group["betas"],
            eps=max(group["eps"], torch.finfo(weights[0].dtype).tiny),  # 0 / 0 would be no number
            corrections=corrections,
        )
        return directions

    def move(self, layers: Tensors, weights: Tensors, directions: Tensors, rate: Any, group: Group) -> None:
        if isinstance(rate, torch.Tensor):
            torch._foreach_addcmul_(weights, directions, rate.unbind(), value=-1)
        else:
            torch._foreach_sub_(weights, directions, alpha=rate)
