"""The interface of a task: data, model, loss and metric. docs/own-task.md has one of a user's own."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from ..batches.adaptive import Transform
from ..cluster import Cluster
from ..errors import InputError
from .augment import AsStored, NoAugmentation, Prepare


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """The data of a task, in memory or ready to be read."""

    train: Dataset[Any]
    """Training set; a sample is (input, target)."""
    test: Dataset[Any]
    """Test set; a sample is (input, target)."""
    sample_shape: tuple[int, ...]
    """Shape of one input of the model, without the dimension of the samples."""
    n_classes: int
    """Number of classes among the targets; 1 where they are numbers."""
    prepare: Prepare | Callable[[torch.Tensor], torch.Tensor] = AsStored(mean=(), std=())  # noqa: RUF009 (frozen)
    """Function that makes the model's inputs of stored test inputs, on the device, without randomness."""
    augment: Transform = None  # type: ignore[assignment]  # never after __post_init__
    """Function that makes the model's inputs of stored training inputs, on the device, with random augmentation by the
    samples' keys; ``prepare`` when not given."""
    told: str = ""
    """Line by which rank 0 says what a user should know of the data; empty for nothing."""

    def __post_init__(self) -> None:
        if self.augment is None:
            object.__setattr__(self, "augment", NoAugmentation(self.prepare))

    def example(self, n_samples: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns inputs and targets, both (n_samples, ...): the first training sample again and again, prepared."""
        inputs, targets = (torch.stack([torch.as_tensor(field)] * n_samples) for field in self.train[0])
        return self.prepare(inputs), targets


class Task(ABC):
    """A task: data, model, loss and metric.

    Attributes:
        metric: Name of the metric, which is ``metric_of`` the mean of ``score`` over all test samples.
        larger_is_better: True if a larger metric is better.
        default_model: Name of the network that is trained if the recipe names none.
    """

    metric: ClassVar[str] = "accuracy"
    larger_is_better: ClassVar[bool] = True
    default_model: ClassVar[str] = "small_cnn"

    def fetch(self) -> None:  # noqa: B027 (most tasks have their data at hand)
        """Brings the data to this node; called on rank 0, then on one rank of each other node, before ``load``."""

    @abstractmethod
    def load(self, cluster: Cluster | None = None) -> TaskData:
        """Reads the data; called on every rank.

        Args:
            cluster: The ranks, which may divide the reading; None where this process reads alone.

        Raises:
            InputError: The data are missing or damaged; with a cluster, a rank may be the only one to raise it.
        """

    def model(self, name: str, data: TaskData) -> nn.Module:
        """Returns the network of this name, for these data; here there is none but a user's own, ``module:function``.

        Raises:
            InputError: There is no network of this name.
        """
        raise InputError("model", name, "module:function, a network of your own", "--model my_module:network")

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the loss that training minimises, as a mean over the samples. Shape ()."""
        return cross_entropy(outputs, targets)

    def evaluation_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the loss reported of the test set, without regularisation, as a mean over the samples. Shape ()."""
        return self.loss(outputs, targets)

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the score, as a sum over the samples: the number of correct predictions. Shape ()."""
        return (outputs.argmax(dim=1) == targets).sum()

    def metric_of(self, mean_score: float) -> float:
        """Returns the metric for a mean score over samples; here the mean itself."""
        return mean_score
