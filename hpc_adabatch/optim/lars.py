"""LARS: a learning rate for each layer, by the lengths of its weights and of its gradient.

You, Gitman & Ginsburg 2017, https://arxiv.org/abs/1708.03888, Algorithm 1.

    paper      here                 meaning
    gamma      lr                   global learning rate
    eta        trust_coefficient    how far a layer trusts its gradient, per step
    beta       weight_decay
    m          momentum
    lambda     trust ratio          eta |w| / (|g| + beta |w| + eps), 1 where |w| or |g| is 0
    v          momentum_buffer      m v + gamma lambda (g + beta w);    w <- w - v

The learning rate stands inside the momentum buffer, as in the paper and in MLPerf's reference; most PyTorch codes keep
it outside. The two differ whenever the learning rate changes, and here it changes often: after a jump the old velocity
fades over 1/(1-m) steps. ``momentum_correction`` rescales it at once (m times new over old learning rate, Goyal et al.
2017, https://arxiv.org/abs/1706.02677, section 3), which is exactly the outside form while the rate is above 0.

Zero lengths take MLPerf's ratio 1, which is not harmless: a weight matrix initialised to zero makes a raw step of the
global learning rate. A warm-up from 0 hides it.

Not here: averaging gradients (cluster/), which parameters adapt (parameter_groups.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, ParamsT

from ..errors import require


class LARS(Optimizer):
    """SGD with momentum and a trust ratio per parameter. Wrap it in Horovod's optimizer, never the other way round.

    Args:
        params: parameters, or groups of them; see ``parameter_groups`` for the usual two.
        lr: global learning rate. Its scale goes with trust_coefficient: 1 to 30 at 0.001.
        momentum: 0 to below 1.
        weight_decay: inside the trust ratio and the update.
        trust_coefficient: length of a layer's step over the length of its weights, at lr 1.
        eps: added to the denominator of the trust ratio.
        adapt: False for groups that take plain SGD steps.
        momentum_correction: rescales the buffer when lr changes.
        nesterov: looks ahead along the buffer.

    Every option lives in the parameter groups and has a default, and the buffers exist from the start: Horovod rebuilds
    an optimizer from its groups alone, and takes a step with zero gradients on one whose state is empty.

    Raises:
        InputError: an option is out of range.
        RuntimeError: a gradient is sparse or complex.
    """

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

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _check({**self.defaults, **param_group})
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for parameter in group["params"]:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(
                    parameter, memory_format=torch.preserve_format
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            corrects = group["momentum_correction"] and group["previous_lr"] > 0
            correction = group["lr"] / group["previous_lr"] if corrects else 1.0
            for index, parameter in enumerate(group["params"]):
                gradient, buffer = parameter.grad, self.state[parameter]["momentum_buffer"]
                if gradient is None:
                    if correction != 1:
                        buffer.mul_(correction)
                    continue
                if gradient.is_sparse or gradient.is_complex():
                    raise RuntimeError(
                        f"LARS takes dense real gradients; parameter {index}, shape {tuple(parameter.shape)}, has not"
                    )
                on_cpu = not parameter.is_cuda and parameter.dtype == _wide(parameter)
                update = _update_on_cpu if on_cpu else _update_on_device
                update(parameter, gradient, buffer, correction, group)
            group["previous_lr"] = group["lr"]
        return loss


def _update_on_cpu(
    weight: torch.Tensor, gradient: torch.Tensor, buffer: torch.Tensor, correction: float, group: dict[str, Any]
) -> None:
    """v <- m v + s (g + beta w), w <- w - v, in place; only nesterov with decay needs a copy of the weight."""
    decay = group["weight_decay"]
    momentum, rate = group["momentum"], float(group["lr"])
    if group["adapt"]:
        weight_norm, gradient_norm = float(norm(weight)), float(norm(gradient))
        if weight_norm > 0 and gradient_norm > 0:
            rate *= group["trust_coefficient"] * weight_norm / (gradient_norm + decay * weight_norm + group["eps"])
    if group["nesterov"]:
        before = weight.clone() if decay else weight
    buffer.mul_(momentum * correction).add_(gradient, alpha=rate)
    if decay:
        buffer.add_(weight, alpha=rate * decay)
    if not group["nesterov"]:
        weight.sub_(buffer)
        return
    weight.sub_(buffer, alpha=momentum).sub_(gradient, alpha=rate)
    if decay:
        weight.sub_(before, alpha=rate * decay)


def _update_on_device(
    weight: torch.Tensor, gradient: torch.Tensor, buffer: torch.Tensor, correction: float, group: dict[str, Any]
) -> None:
    """The same with the trust ratio kept on the device, where the host never waits for it; and in half precision."""
    momentum, decay = group["momentum"], group["weight_decay"]
    descent = gradient.add(weight, alpha=decay) if decay else gradient
    rate = torch.full((), group["lr"], dtype=_wide(weight), device=weight.device)
    if group["adapt"]:
        weight_norm, gradient_norm = norm(weight), norm(gradient)
        ratio = group["trust_coefficient"] * weight_norm / (gradient_norm + decay * weight_norm + group["eps"])
        rate = rate * torch.where((weight_norm > 0) & (gradient_norm > 0), ratio, 1.0)
    scaled = descent.to(rate.dtype) * rate  # never the rate in half precision: it can exceed 65504
    buffer.mul_(momentum * correction).add_(scaled)
    if group["nesterov"]:
        weight.sub_(buffer, alpha=momentum).sub_(scaled)
    else:
        weight.sub_(buffer)


def norm(tensor: torch.Tensor) -> torch.Tensor:
    """Euclidean length, summed in float32 or better. Shape ()."""
    if tensor.is_cuda or not tensor.is_contiguous() or tensor.dtype not in (torch.float32, torch.float64):
        return torch.linalg.vector_norm(tensor, dtype=_wide(tensor))
    flat = tensor.view(-1)  # on CPU dot uses all threads and keeps 50 times more digits than vector_norm
    return torch.dot(flat, flat).sqrt()


def _wide(tensor: torch.Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _check(group: dict[str, Any]) -> None:
    for name in ("lr", "weight_decay", "trust_coefficient", "eps"):
        require(0 <= group[name] < math.inf, f"optimizer.{name}", group[name], "0 or more")
    require(
        0 <= group["momentum"] < 1, "optimizer.momentum", group["momentum"], "0 to below 1", "--optimizer.momentum 0.9"
    )
