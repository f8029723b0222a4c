"""Loss and metric over the whole test set, every sample exactly once, on all ranks together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

from ..batches.plan import share
from ..batches.workers import Chunks
from ..cluster import Cluster
from ..tasks.task import Task, TaskData


@torch.no_grad()
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
    cluster.watchdog.enter("evaluation")
    was_training = model.training
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=cluster.device)  # loss, score, samples
    mine = share(0, len(data.test), cluster.rank, cluster.size)  # type: ignore[arg-type]
    if len(mine):
        for inputs, targets in _read(data.test, mine, batch, workers):
            inputs, targets = inputs.to(cluster.device), targets.to(cluster.device)
            outputs = forward(data.prepare(inputs))
            cluster.watchdog.beat()
            sums += torch.stack(
                [
                    task.evaluation_loss(outputs, targets).double() * len(targets),
                    task.score(outputs, targets).double(),
                    sums.new_tensor(len(targets)),
                ]
            )
    model.train(was_training)
    loss, score, samples = cluster.allreduce_(sums, "evaluation").tolist()
    return {"loss": loss / samples, task.metric: task.metric_of(score / samples), "samples": int(samples)}


def _read(dataset: Dataset[Any], indices: range, batch: int, workers: int) -> Iterator[Any]:
    if isinstance(dataset, TensorDataset):
        for start in range(0, len(indices), batch):
            chosen = torch.tensor(indices[start : start + batch])
            yield tuple(tensor[chosen] for tensor in dataset.tensors)
    else:
        yield from Chunks(Subset(dataset, indices), chunk=batch, workers=workers)
