"""The optimizers of recipes, by name, with their options.

Not here: the mathematics (lars.py, lamb.py, torch.optim).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from ..errors import require
from .armijo import Armijo
from .barzilai_borwein import BarzilaiBorwein
from .lamb import LAMB
from .lars import LARS
from .parameter_groups import parameter_groups


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions(ABC):
    """Options of an optimizer."""

    has_trust_ratios: ClassVar[bool] = False

    lr: float = 0.1
    """Base learning rate, which the schedule multiplies."""
    weight_decay: float = 5e-4
    """Of weights; biases and normalisation parameters do not decay."""

    def __post_init__(self) -> None:
        require(self.lr > 0, "optimizer.lr", self.lr, "more than 0", "--optimizer.lr 0.1")
        require(
            self.weight_decay >= 0,
            "optimizer.weight_decay",
            self.weight_decay,
            "0 or more",
            "--optimizer.weight_decay 5e-4",
        )

    def step_size(self) -> Armijo | None:
        """The rule that searches the step size of each batch; None where a learning rate says it."""
        return None

    @abstractmethod
    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of this model's parameters."""


@dataclass(frozen=True, kw_only=True)
class MomentumOptions(OptimizerOptions):
    """Options of an optimizer with momentum."""

    momentum: float = 0.9
    """0 to below 1."""
    nesterov: bool = False
    """Looks ahead along the momentum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "0 to below 1", "--optimizer.momentum 0.9")
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

    adapt_all: bool = False
    """Trust ratios and weight decay for biases and normalisation parameters too."""

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The model's parameters, by what decays and adapts."""
        groups = parameter_groups(model, self.weight_decay)
        if self.adapt_all:
            groups = [{**group, "adapt": True, "weight_decay": self.weight_decay} for group in groups]
        return groups


@dataclass(frozen=True, kw_only=True)
class SgdOptions(MomentumOptions):
    """Stochastic gradient descent with momentum (torch.optim.SGD)."""

    # its learning rate stands outside the momentum buffer: no correction is needed where it jumps (lars.py)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        groups = parameter_groups(model, self.weight_decay)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)


@dataclass(frozen=True, kw_only=True)
class LarsOptions(MomentumOptions, LayerwiseOptions):
    """LARS (1708.03888): a trust ratio for each layer."""

    lr: float = 1.0
    """Base learning rate, which the schedule multiplies; its scale goes with trust_coefficient."""
    weight_decay: float = 1e-4
    """Of weights; biases and normalisation parameters do not decay."""
    trust_coefficient: float = 1e-3
    """Length of a layer's step over the length of its weights, at lr 1."""
    eps: float = 0.0
    """Added to the denominator of the trust ratio."""
    momentum_correction: bool = False
    """Rescales the momentum when the learning rate jumps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("trust_coefficient", "eps"):
            value = getattr(self, name)
            require(
                value >= 0,
                f"optimizer.{name}",
                value,
                "0 or more",
                f"--optimizer.{name} {1e-3 if name[0] == 't' else 0}",
            )

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
    """LAMB (1904.00962): Adam's direction and a trust ratio for each layer."""

    # its learning rate stands outside the moments: no correction is needed where it jumps (lamb.py)

    lr: float = 5e-3
    """Base learning rate, which the schedule multiplies: length of a layer's step over the length of its weights."""
    weight_decay: float = 1e-2
    """Of weights, in the direction and not in the gradient; biases and normalisation parameters do not decay."""
    beta1: float = 0.9
    """What the first moment keeps, 0 to below 1."""
    beta2: float = 0.999
    """What the second moment keeps, 0 to below 1."""
    eps: float = 1e-6
    """Added to the root of the second moment."""
    bias_correction: bool = True
    """Divides the moments by 1 - beta^t."""
    max_trust_ratio: float = 0.0
    """What trust ratios are cut to; 0: to nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta1", "beta2"):
            good = 0 <= getattr(self, name) < 1
            require(good, f"optimizer.{name}", getattr(self, name), "0 to below 1", f"--optimizer.{name} 0.9")
        for name, example in (("eps", 1e-6), ("max_trust_ratio", 10)):
            value = getattr(self, name)
            require(value >= 0, f"optimizer.{name}", value, "0 or more", f"--optimizer.{name} {example}")

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
class SearchOptions(OptimizerOptions):
    """Options of steps along the gradient that are searched on each batch."""

    lr: float = 1.0
    """First step size to try; there is no schedule."""
    decrease: float = 0.1
    """Part of the predicted decrease of the loss that a step must reach."""

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = "more than 0, at most 0.5"
        good = 0 < self.decrease <= 0.5
        require(good, "optimizer.decrease", self.decrease, allowed, "--optimizer.decrease 0.1")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        # the search adds the decay to objective and gradient itself
        groups = [
            {**group, "search_decay": group["weight_decay"], "weight_decay": 0.0}
            for group in parameter_groups(model, self.weight_decay)
        ]
        return torch.optim.SGD(groups, lr=self.lr)


@dataclass(frozen=True, kw_only=True)
class ArmijoOptions(SearchOptions):
    """Steps as long as backtracking on the same batch allows (Big Batch SGD, 1610.05792)."""

    rise: float = 1.0
    """Growth of the first step tried over an epoch (1905.09997: 2); at 1 it is doubled where the batch grew."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.rise < math.inf, "optimizer.rise", self.rise, "1 or more", "--optimizer.rise 2")

    def step_size(self) -> Armijo:
        return Armijo(self.lr, self.decrease, self.rise)


@dataclass(frozen=True, kw_only=True)
class BarzilaiBorweinOptions(SearchOptions):
    """Step sizes from the curvature along the last step, less the noise (Big Batch SGD, 1610.05792)."""

    def step_size(self) -> Armijo:
        return BarzilaiBorwein(self.lr, self.decrease)


OPTIMIZERS: dict[str, type[OptimizerOptions]] = {
    "sgd": SgdOptions,
    "lars": LarsOptions,
    "lamb": LambOptions,
    "armijo": ArmijoOptions,
    "barzilai_borwein": BarzilaiBorweinOptions,
}
