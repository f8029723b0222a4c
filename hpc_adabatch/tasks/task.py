"""What there is to learn: data, model, loss and metric behind one interface.

Not here: batches (batches/), training (training/).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from ..batches.adaptive import Transform
from .augment import Prepare


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """A task's data, in memory or ready to be read."""

    train: Dataset[Any]
    """Samples are (input, target)."""
    test: Dataset[Any]
    """Likewise."""
    augment: Transform
    """From a training micro-batch as stored to what the model sees, on the device."""
    prepare: Prepare
    """The same for test samples, without randomness."""
    sample_shape: tuple[int, ...]
    """Of one input."""
    n_classes: int
    """Of the targets."""

    def example(self, n_samples: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The first training sample so many times, prepared like test samples: inputs and targets, (n_samples, ...)."""
        inputs, targets = (torch.stack([torch.as_tensor(field)] * n_samples) for field in self.train[0])
        return self.prepare(inputs), targets


class Task(ABC):
    """Something to learn.

    Attributes:
        metric: name of what is reported: ``metric_of`` the mean over the samples of what ``score`` adds up.
        larger_is_better: of the metric.
        default_model: network that the task trains when none is named.
    """

    metric: ClassVar[str] = "accuracy"
    larger_is_better: ClassVar[bool] = True
    default_model: ClassVar[str] = "small_cnn"

    def fetch(self) -> None:  # noqa: B027 (most tasks have their data at hand)
        """Brings the data to this node; called on one rank a node, before ``load``."""

    @abstractmethod
    def load(self) -> TaskData:
        """Reads the data; called on every rank.

        Raises:
            InputError: the data is missing or damaged.
        """

    @abstractmethod
    def model(self, name: str, data: TaskData) -> nn.Module:
        """The network of this name, for this data.

        Raises:
            InputError: there is none of this name.
        """

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean over the samples, of what training minimises. Shape ()."""
        return cross_entropy(outputs, targets)

    def evaluation_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The same of the test set, where training minimises something regularised. Shape ()."""
        return self.loss(outputs, targets)

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Sum over the samples. Shape ()."""
        return (outputs.argmax(dim=1) == targets).sum()

    def metric_of(self, mean_score: float) -> float:
        """The metric, from the mean of ``score`` over the samples."""
        return mean_score
