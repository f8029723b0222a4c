"""Scores over a whole test set, every sample exactly once, on all ranks together.

    sample p of n   belongs to rank p mod ranks: shares may differ by one sample, and may be empty
    each rank       sums over its samples, in float64
    all ranks       the sums of all of them, added in the order of the ranks, over n

No sample is repeated to make shares even, so no mean is of other samples than the test set's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from ..batches.loader import Collate
from ..batches.plan import share
from ..batches.samples import length
from ..batches.workers import Chunks
from ..cluster import Cluster
from ..errors import require
from .alike import check_alike
from .feed import moved
from .settings import content

Score = Callable[..., Mapping[str, torch.Tensor]]
"""Takes the columns of some samples, as a step hands them out; returns a number for each of them under each name."""


def evaluate(
    score: Score,
    dataset: Dataset[Any],
    *,
    model: nn.Module,
    cluster: Cluster,
    batch: int = 256,
    workers: int = 0,
    collate: Collate | None = None,
) -> dict[str, float]:
    """Returns the mean of each score over a dataset, which the ranks share; all of them call it.

        def score(inputs, targets):
            outputs = model(inputs)
            losses = cross_entropy(outputs, targets, reduction="none")
            return {"loss": losses, "accuracy": outputs.argmax(1) == targets}

        scores = evaluate(score, test_set, model=model, cluster=cluster)

    The running statistics of the model are averaged over ranks before.

    Args:
        score: A function of some samples on the device, as a step hands them out: of a tuple it gets the parts. Returns
            tensors of shape (samples, ...) by name; of a tensor with more dimensions the sum of a sample's numbers
            counts.
        dataset: The dataset, which has a length, the same on every rank.
        model: The network, in evaluation mode meanwhile, without gradients.
        cluster: The ranks.
        batch: The samples of one pass of one rank.
        workers: The processes of each rank that read samples, where these are not in memory.
        collate: The function that makes a micro-batch of a list of samples, as that of ``AdaptiveBatches``.

    Raises:
        InputError: A score is not one number for each sample; the dataset is a stream, is empty, or differs between
            ranks.
    """
    sized = isinstance(dataset, Sized) and not isinstance(dataset, IterableDataset)
    require(sized, "dataset", type(dataset).__name__, "a map-style dataset, which has a length", "TensorDataset(x, y)")
    n_samples = len(dataset)  # type: ignore[arg-type]
    require(n_samples > 0, "dataset", "0 samples", "1 or more")
    check_alike(cluster, {"dataset": f"{n_samples} samples{content(dataset)}"})
    average_buffers(model, cluster)

    def sums(samples: int, *parts: Any) -> dict[str, torch.Tensor]:
        found = score(*parts)
        for name, values in found.items():
            shape = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
            fits = isinstance(values, torch.Tensor) and values.ndim > 0 and len(values) == samples
            allowed = f"a tensor of shape ({samples}, ...), one number for each sample"
            require(fits, f"score.{name}", shape, allowed, 'cross_entropy(outputs, targets, reduction="none")')
        return {name: values.double().sum() for name, values in found.items()}

    how = {"batch": batch, "workers": workers}
    totals = sum_over_samples(sums, dataset, model=model, cluster=cluster, **how, collate=collate)
    return {name: total / n_samples for name, total in totals.items()}


@torch.no_grad()
def sum_over_samples(
    sums: Score,
    dataset: Dataset[Any],
    *,
    model: nn.Module,
    cluster: Cluster,
    batch: int,
    workers: int,
    collate: Collate | None = None,
) -> dict[str, float]:
    """Returns sums over a dataset, each sample of it once.

    Args:
        sums: A function of the number of some samples and of their parts, which returns sums over them, shape (), by
            name.
        dataset: The dataset.
        model: The network, in evaluation mode meanwhile.
        cluster: The ranks.
        batch: The samples of one pass of one rank.
        workers: The processes of each rank that read samples, where these are not in memory.
        collate: The function that makes a micro-batch of a list of samples; columns are made where it is None.

    Raises:
        InputError: ``sums`` raises it on some rank; all ranks raise it.
    """
    cluster.watchdog.enter("evaluation")
    trains = {module: module.training for module in model.modules()}  # layers of one may differ
    model.eval()
    totals: dict[str, torch.Tensor] = {}
    mine = share(0, len(dataset), cluster.rank, cluster.size)  # type: ignore[arg-type]
    try:
        with cluster.together():
            for samples, micro in _read(dataset, mine, batch, workers, collate) if len(mine) else ():
                ready = moved(micro, cluster.device)
                found = sums(samples, *(ready if isinstance(ready, tuple) else (ready,)))
                totals = {name: totals.get(name, 0.0) + value for name, value in found.items()}
                cluster.watchdog.beat()
    finally:
        for module, was in trains.items():
            module.training = was
    everyone = cluster.gather({name: float(total) for name, total in totals.items()})
    return {name: sum(of.get(name, 0.0) for of in everyone) for its in everyone for name in its}


def average_buffers(model: nn.Module, cluster: Cluster) -> None:
    """Averages the running statistics of normalisation layers over ranks; all of them call it."""
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point():
            whole = buffer.to(torch.promote_types(buffer.dtype, torch.float32))
            buffer.copy_(cluster.allreduce_(whole, f"buffers.{name}").div_(cluster.size))


def _read(
    dataset: Dataset[Any], indices: range, batch: int, workers: int, collate: Collate | None
) -> Iterator[tuple[int, Any]]:
    """Yields the number of some samples, and these."""
    if isinstance(dataset, TensorDataset) and collate is None:
        for start in range(0, len(indices), batch):
            chosen = torch.tensor(indices[start : start + batch])
            yield len(chosen), tuple(tensor[chosen] for tensor in dataset.tensors)
        return
    for chunk in Chunks(Subset(dataset, indices), chunk=batch, workers=workers, apart=collate is not None):
        yield length(chunk), chunk if collate is None else collate(chunk)
