"""The optimizers of recipes, by name, with their options."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from ..errors import real, require
from .armijo import Armijo
from .barzilai_borwein import BarzilaiBorwein
from .eager import SGD
from .lamb import LAMB
from .lars import LARS
from .parameter_groups import parameter_groups


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions(ABC):
    """Options of an optimizer in a recipe."""

    has_trust_ratios: ClassVar[bool] = False
    normalises: ClassVar[bool] = False  # the length of a step depends on the learning rate, not on the gradient's

    lr: float = 0.1
    """Base learning rate, which the schedule multiplies."""
    weight_decay: float = 5e-4
    """Weight decay of weights; biases and normalisation parameters do not decay."""

    def __post_init__(self) -> None:
        require(0 < real(self.lr) < math.inf, "optimizer.lr", self.lr, "more than 0", "--optimizer.lr 0.1")
        require(
            0 <= real(self.weight_decay) < math.inf,
            "optimizer.weight_decay",
            self.weight_decay,
            "0 or more",
            "--optimizer.weight_decay 5e-4",
        )

    def step_size(self) -> Armijo | None:
        """Returns the rule that searches the step size of each batch; None if the learning rate sets it."""
        return None

    @property
    @abstractmethod
    def kept(self) -> int:
        """Returns the numbers that a step keeps for each parameter, beside the weight and its gradient."""

    @abstractmethod
    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """Returns the optimizer of this model's parameters."""


@dataclass(frozen=True, kw_only=True)
class MomentumOptions(OptimizerOptions):
    """Options of an optimizer with momentum."""

    momentum: float = 0.9
    """Part of the velocity that stays, 0 to below 1."""
    nesterov: bool = False
    """Takes Nesterov's steps, which look ahead along the momentum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        momentum = self.momentum
        require(0 <= real(momentum) < 1, "optimizer.momentum", momentum, "0 to below 1", "--optimizer.momentum 0.9")
        require(
            self.momentum > 0 or not self.nesterov,
            "optimizer.nesterov",
            self.nesterov,
            "false without momentum",
            "--optimizer.nesterov false",
        )


@dataclass(frozen=True, kw_only=True)
class LayerwiseOptions(OptimizerOptions):
    """Options of an optimizer with a trust ratio for each layer."""

    has_trust_ratios: ClassVar[bool] = True
    normalises: ClassVar[bool] = True

    adapt_all: bool = False
    """Gives trust ratios and weight decay to biases and normalisation parameters too."""

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Returns the model's parameter groups, each with its weight decay and whether it adapts."""
        groups = parameter_groups(model, self.weight_decay)
        if self.adapt_all:
            groups = [{**group, "adapt": True, "weight_decay": self.weight_decay} for group in groups]
        return groups


@dataclass(frozen=True, kw_only=True)
class SgdOptions(MomentumOptions):
    """Options of stochastic gradient descent with momentum (torch.optim.SGD)."""

    # its learning rate stands outside the momentum buffer: no correction is needed where it jumps (lars.py)

    @property
    def kept(self) -> int:
        return 1 if self.momentum > 0 else 0

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        groups = parameter_groups(model, self.weight_decay)
        return SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)


@dataclass(frozen=True, kw_only=True)
class LarsOptions(MomentumOptions, LayerwiseOptions):
    """Options of LARS (1708.03888): a trust ratio for each layer."""

    lr: float = 1.0
    """Base learning rate, which the schedule multiplies; usually 1 to 30 at a trust_coefficient of 0.001."""
    weight_decay: float = 1e-4
    """Weight decay of weights; biases and normalisation parameters do not decay."""
    trust_coefficient: float = 1e-3
    """A layer's step length divided by its weight length, at lr 1."""
    eps: float = 0.0
    """Number added to the denominator of the trust ratio."""
    momentum_correction: bool = False
    """Rescales the momentum whenever the learning rate changes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("trust_coefficient", "eps"):
            value = getattr(self, name)
            hint = f"--optimizer.{name} {1e-3 if name[0] == 't' else 0}"
            require(0 <= real(value) < math.inf, f"optimizer.{name}", value, "0 or more", hint)

    @property
    def kept(self) -> int:
        return 1  # the velocity, without momentum too

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return LARS(
            self.groups(model),
            lr=self.lr,
            momentum=self.momentum,
            trust_coefficient=self.trust_coefficient,
            eps=self.eps,
            momentum_correction=self.momentum_correction,
            nesterov=self.nesterov,
        )


@dataclass(frozen=True, kw_only=True)
class LambOptions(LayerwiseOptions):
    """Options of LAMB (1904.00962): Adam's direction and a trust ratio for each layer."""

    # its learning rate stands outside the moments: no correction is needed where it jumps (lamb.py)

    lr: float = 5e-3
    """Base learning rate, which the schedule multiplies: a layer's step length divided by its weight length."""
    weight_decay: float = 1e-2
    """Weight decay of weights, added to the direction; biases and normalisation parameters do not decay."""
    beta1: float = 0.9
    """Part of the first moment that stays, 0 to below 1."""
    beta2: float = 0.999
    """Part of the second moment that stays, 0 to below 1."""
    eps: float = 1e-6
    """Number added to the root of the second moment."""
    bias_correction: bool = True
    """Divides the moments by 1 - beta^t, t being the number of steps."""
    max_trust_ratio: float = 0.0
    """Upper bound of trust ratios; no bound if 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_moments(self.beta1, self.beta2, self.eps)
        good = 0 <= real(self.max_trust_ratio) < math.inf
        hint = "--optimizer.max_trust_ratio 10"
        require(good, "optimizer.max_trust_ratio", self.max_trust_ratio, "0 or more", hint)

    @property
    def kept(self) -> int:
        return 2  # the moments

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return LAMB(
            self.groups(model),
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            bias_correction=self.bias_correction,
            max_trust_ratio=self.max_trust_ratio,
        )


@dataclass(frozen=True, kw_only=True)
class AdamwOptions(OptimizerOptions):
    """Options of AdamW (1711.05101): Adam with decoupled weight decay."""

    normalises: ClassVar[bool] = True

    lr: float = 1e-3
    """Base learning rate, which the schedule multiplies."""
    weight_decay: float = 1e-2
    """Weight decay of weights; biases and normalisation parameters do not decay."""
    beta1: float = 0.9
    """Part of the first moment that stays, 0 to below 1."""
    beta2: float = 0.999
    """Part of the second moment that stays, 0 to below 1; learning_rate.beta2 lets it follow the batch."""
    eps: float = 1e-8
    """Number added to the root of the second moment."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_moments(self.beta1, self.beta2, self.eps)

    @property
    def kept(self) -> int:
        return 2  # the moments

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        groups = [{**group, "adapt": False} for group in parameter_groups(model, self.weight_decay)]
        return LAMB(groups, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps)  # whose betas may change


@dataclass(frozen=True, kw_only=True)
class SearchOptions(OptimizerOptions):
    """Options of steps along the gradient that are searched on each batch."""

    lr: float = 1.0
    """First step size to try; no schedule changes it."""
    decrease: float = 0.1
    """Part of the predicted decrease of the loss that a step must reach."""

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = "more than 0, at most 0.5"
        good = 0 < real(self.decrease) <= 0.5
        require(good, "optimizer.decrease", self.decrease, allowed, "--optimizer.decrease 0.1")

    @property
    def kept(self) -> int:
        return 2  # where the search starts: weight and gradient (training/line_search.py)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        # the search adds the decay to objective and gradient itself
        groups = [
            {**group, "search_decay": group["weight_decay"], "weight_decay": 0.0}
            for group in parameter_groups(model, self.weight_decay)
        ]
        return SGD(groups, lr=self.lr)


@dataclass(frozen=True, kw_only=True)
class ArmijoOptions(SearchOptions):
    """Options of steps found by backtracking on the same batch (Big Batch SGD, 1610.05792)."""

    rise: float = 1.0
    """Growth of the first step size to try over an epoch (1905.09997: 2); at 1 it doubles whenever the batch grows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= real(self.rise) < math.inf, "optimizer.rise", self.rise, "1 or more", "--optimizer.rise 2")

    def step_size(self) -> Armijo:
        return Armijo(self.lr, self.decrease, self.rise)


@dataclass(frozen=True, kw_only=True)
class BarzilaiBorweinOptions(SearchOptions):
    """Options of steps that follow the curvature along the last step (Big Batch SGD, 1610.05792)."""

    def step_size(self) -> Armijo:
        return BarzilaiBorwein(self.lr, self.decrease)


def _check_moments(beta1: float, beta2: float, eps: float) -> None:
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        require(0 <= real(beta) < 1, f"optimizer.{name}", beta, "0 to below 1", f"--optimizer.{name} 0.9")
    require(0 <= real(eps) < math.inf, "optimizer.eps", eps, "0 or more", "--optimizer.eps 1e-6")


OPTIMIZERS: dict[str, type[OptimizerOptions]] = {
    "sgd": SgdOptions,
    "lars": LarsOptions,
    "lamb": LambOptions,
    "adamw": AdamwOptions,
    "armijo": ArmijoOptions,
    "barzilai_borwein": BarzilaiBorweinOptions,
}
