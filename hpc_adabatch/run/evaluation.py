"""Loss and metric of a recipe's task over its whole test set."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..cluster import Cluster
from ..tasks.task import Task, TaskData
from ..training.evaluation import sum_over_samples


def evaluate(
    model: nn.Module,
    forward: Callable[[torch.Tensor], torch.Tensor],
    task: Task,
    data: TaskData,
    cluster: Cluster,
    *,
    batch: int,
    workers: int = 0,
) -> dict[str, float]:
    """Returns the mean loss, the task's metric, and the number of samples, under ``loss``, its name and ``samples``.

    Args:
        model: The network, put into evaluation mode meanwhile.
        forward: The network's forward pass, in the precision of the run.
        task: The task, whose metric is computed.
        data: The data, whose test set is read.
        cluster: The ranks, which share the test set.
        batch: The test samples of one pass of one rank.
        workers: The processes that read samples, where these are not in memory.
    """

    def sums(samples: int, inputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = forward(data.prepare(inputs))
        return {
            "loss": task.evaluation_loss(outputs, targets).double() * samples,
            "score": task.score(outputs, targets).double(),
            "samples": torch.tensor(samples, dtype=torch.float64),
        }

    total = sum_over_samples(sums, data.test, model=model, cluster=cluster, batch=batch, workers=workers)
    seen = total["samples"]
    mean = {"loss": total["loss"] / seen, task.metric: task.metric_of(total["score"] / seen)}
    return mean | {"samples": int(seen)}
