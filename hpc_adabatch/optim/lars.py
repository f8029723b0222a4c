"""LARS: a learning rate for each layer, from the lengths of its weights and of its gradient.

You, Gitman & Ginsburg 2017, https://arxiv.org/abs/1708.03888, Algorithm 1.

    paper      here                 meaning
    gamma      lr                   global learning rate
    eta        trust_coefficient    length of a layer's step / length of its weights, at lr 1
    beta       weight_decay
    m          momentum
    lambda     trust ratio          eta |w| / (|g| + beta |w| + eps), 1 if |w| or |g| is 0
    v          momentum_buffer      m v + gamma lambda (g + beta w);    w <- w - v

The learning rate stands inside the momentum buffer, as in the paper and in MLPerf's reference; most PyTorch codes have
it outside. The two differ whenever the learning rate changes, which is often with growing batches: after a jump the old
velocity fades over 1/(1-m) steps. ``momentum_correction`` rescales it at once, by new / old learning rate (Goyal et al.
2017, https://arxiv.org/abs/1706.02677, section 3); this equals the outside form exactly as long as the rate is above 0.
torch.optim.SGD has the rate outside and needs no correction.

The ratio 1 for lengths of 0 is MLPerf's, and it is not harmless: a weight matrix initialised to zero makes a plain step
of the global learning rate. A warm-up from 0 hides that.

A checkpoint holds the velocity v of the last step as ``momentum_buffer``, in the parameter's unit, and nothing else of
a parameter; groups hold ``previous_lr``, the learning rate of that step.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch.optim.optimizer import ParamsT

from ..errors import real, require
from .kernels import Tensors, momentum_step
from .layerwise import Group, Layerwise, check_flags


class LARS(Layerwise):
    """LARS: SGD with momentum and a trust ratio for each parameter.

    With Horovod, pass this optimizer to ``DistributedOptimizer``, not the reverse.

    Args:
        params: Parameters, or groups of them; ``parameter_groups`` makes the two usual groups.
        lr: Learning rate: with a trust ratio, a layer's step length divided by its weight length is
            ``lr * trust_coefficient``, so the usual range is 1 to 30 at a ``trust_coefficient`` of 0.001.
        momentum: Part of the velocity that stays, 0 to below 1.
        weight_decay: Weight decay, in the trust ratio and in the update.
        trust_coefficient: A layer's step length divided by its weight length, at lr 1.
        eps: Number added to the denominator of the trust ratio.
        adapt: False for groups that take plain SGD steps.
        momentum_correction: Rescales the momentum buffer whenever lr changes.
        nesterov: Takes Nesterov's steps, which look ahead along the momentum buffer.

    Attributes:
        trust_ratios: None; if it is set to a dict, each step fills it with the trust ratio of each adapted parameter.

    Raises:
        InputError: An option is out of range.
        RuntimeError: A gradient is sparse or complex (in ``step``).
    """

    state_names: ClassVar[tuple[str, ...]] = ("momentum_buffer",)

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        trust_coefficient: float = 1e-3,
        eps: float = 0.0,
        adapt: bool = True,
        momentum_correction: bool = False,
        nesterov: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "eps": eps,
            "adapt": adapt,
            "momentum_correction": momentum_correction,
            "nesterov": nesterov,
            "previous_lr": 0.0,
        }
        super().__init__(params, defaults)

    def check(self, group: Group) -> None:
        for name in ("lr", "weight_decay", "trust_coefficient", "eps"):
            require(0 <= real(group[name]) < math.inf, f"optimizer.{name}", group[name], "0 or more")
        momentum = group["momentum"]
        require(0 <= real(momentum) < 1, "optimizer.momentum", momentum, "0 to below 1", "--optimizer.momentum 0.9")
        check_flags(group, "adapt", "momentum_correction", "nesterov")

    def step_group(self, group: Group) -> None:
        if correction(group) != 1:
            for parameter in group["params"]:
                if parameter.grad is None:
                    self.state[parameter]["momentum_buffer"].mul_(correction(group))
        super().step_group(group)
        group["previous_lr"] = group["lr"]

    def ratio(self, weight_norm: Any, direction_norm: Any, group: Group) -> Any:
        denominator = direction_norm + group["weight_decay"] * weight_norm + group["eps"]
        return group["trust_coefficient"] * weight_norm / denominator

    def directions(self, layers: Tensors, weights: Tensors, gradients: Tensors, group: Group) -> Tensors:
        return gradients

    def move(self, layers: Tensors, weights: Tensors, directions: Tensors, rate: Any, group: Group) -> None:
        buffers = [self.state[layer]["momentum_buffer"] for layer in layers]
        momentum, decay = group["momentum"] * correction(group), group["weight_decay"]
        if isinstance(rate, torch.Tensor):
            _move_on_device(weights, directions, buffers, momentum, rate, group)
            return
        pull = 1.0
        if group["nesterov"]:  # w - m v' - s d = (w + m v) - (1 + m) v', since v' = m v + s d; the decay is of w alone
            torch._foreach_add_(weights, buffers, alpha=momentum)
            momentum, pull = momentum * (1 - rate * decay), 1 + group["momentum"]
        momentum_step(weights, directions, buffers, momentum=momentum, rate=rate, decay=decay, pull=pull)


def _move_on_device(
    weights: Tensors, gradients: Tensors, buffers: Tensors, momentum: float, rates: torch.Tensor, group: Group
) -> None:
    """Computes v <- m v + s (g + beta w), w <- w - v, with an s for each layer that only the device knows.

    Args:
        weights: Weights of the layers: float32 or float64, all on one device.
        gradients: Gradients of the same shapes, type and device.
        buffers: Velocities of the same shapes, type and device.
        momentum: Part of the velocity that stays (m), corrected for a change of the learning rate.
        rates: Learning rate times trust ratio of each layer (s), shape (layers,).
        group: The layers' parameter group.
    """
    each, decays = rates.unbind(), (rates * group["weight_decay"]).unbind()
    torch._foreach_mul_(buffers, momentum)
    torch._foreach_addcmul_(buffers, gradients, each)
    if group["weight_decay"]:
        torch._foreach_addcmul_(buffers, weights, decays)
    if not group["nesterov"]:
        torch._foreach_sub_(weights, buffers)
        return
    if group["weight_decay"]:
        torch._foreach_addcmul_(weights, weights, decays, value=-1)
    torch._foreach_addcmul_(weights, gradients, each, value=-1)
    torch._foreach_sub_(weights, buffers, alpha=group["momentum"])


def correction(group: Group) -> float:
    """Returns the factor of old velocities after a change of the learning rate; 1 without ``momentum_correction``."""
    corrects = group["momentum_correction"] and group["previous_lr"] > 0
    return float(group["lr"] / group["previous_lr"]) if corrects else 1.0
