"""The optimizers of recipes, by name, with their options.

Not here: the mathematics (lars.py, torch.optim).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from ..errors import require
from .lars import LARS
from .parameter_groups import parameter_groups


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions(ABC):
    """Options of an optimizer."""

    lr: float = 0.1
    """Base learning rate, which the schedule multiplies."""
    momentum: float = 0.9
    """0 to below 1."""
    weight_decay: float = 5e-4
    """Of weights; biases and normalisation parameters do not decay."""
    nesterov: bool = False
    """Looks ahead along the momentum."""

    def __post_init__(self) -> None:
        require(self.lr > 0, "optimizer.lr", self.lr, "more than 0", "--optimizer.lr 0.1")
        require(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "0 to below 1", "--optimizer.momentum 0.9")
        require(
            self.weight_decay >= 0,
            "optimizer.weight_decay",
            self.weight_decay,
            "0 or more",
            "--optimizer.weight_decay 5e-4",
        )
        require(
            self.momentum > 0 or not self.nesterov,
            "optimizer.nesterov",
            self.nesterov,
            "false without momentum",
            "--optimizer.nesterov false",
        )

    @abstractmethod
    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of this model's parameters."""


@dataclass(frozen=True, kw_only=True)
class SgdOptions(OptimizerOptions):
    """Stochastic gradient descent with momentum (torch.optim.SGD)."""

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        groups = parameter_groups(model, self.weight_decay)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)


@dataclass(frozen=True, kw_only=True)
class LarsOptions(OptimizerOptions):
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
    adapt_all: bool = False
    """Trust ratios and weight decay for biases and normalisation parameters too."""

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
        groups = parameter_groups(model, self.weight_decay)
        if self.adapt_all:
            groups = [{**group, "adapt": True, "weight_decay": self.weight_decay} for group in groups]
        return LARS(
            groups,
            lr=self.lr,
            momentum=self.momentum,
            trust_coefficient=self.trust_coefficient,
            eps=self.eps,
            momentum_correction=self.momentum_correction,
            nesterov=self.nesterov,
        )


OPTIMIZERS: dict[str, type[OptimizerOptions]] = {"sgd": SgdOptions, "lars": LarsOptions}
