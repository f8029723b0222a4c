"""The common part of tasks whose targets are classes: networks by name, and cross-entropy with label smoothing.

Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7: with smoothing e and K classes, training minimises

    (1 - e) * cross-entropy with the target + e * mean over all K classes of the cross-entropy with each

The test loss is the plain cross-entropy, so that runs with different smoothing can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..errors import real, require
from .models import build_model
from .task import Task, TaskData


@dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """A task whose samples belong to one class each.

    Raises:
        InputError: A field is out of range.
    """

    label_smoothing: float = 0.0
    """Part of each training target that is spread evenly over all classes; 0 to below 1."""

    def __post_init__(self) -> None:
        require(
            0 <= real(self.label_smoothing) < 1,
            "task.label_smoothing",
            self.label_smoothing,
            "0 to below 1",
            "--task.label_smoothing 0.1",
        )

    def model(self, name: str, data: TaskData) -> nn.Module:
        return build_model(name, data.n_classes, data.sample_shape)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)

    def evaluation_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(outputs, targets)
