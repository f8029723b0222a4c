"""What every rank must have alike, compared once, before anything is sent that would not fit together.

Ranks tell digests first, because there may be hundreds of them and thousands of parameters; only where these differ do
they tell what they have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from ..batches import AdaptiveBatches
from ..cluster import Cluster
from ..errors import InputError

PLAIN = (bool, int, float, str, tuple, type(None))
Told = dict[str, str]  # what a rank has, by the name of the argument


def check_alike(
    cluster: Cluster,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: AdaptiveBatches,
    others: Mapping[str, object],
) -> None:
    """Compares what the ranks have; all of them call this.

    Args:
        cluster: The ranks.
        model: The network, of which names, shapes and types are compared: rank 0's weights are sent to all.
        optimizer: The optimizer, with the options of its groups.
        batches: The training set, its limits and its seed.
        others: Further arguments by name, compared by what they print, or by their kind.

    Raises:
        InputError: A rank has something else than rank 0; all ranks raise it.
    """
    if cluster.size == 1:
        return
    told = {**_optimizer(optimizer), **_batches(batches), **{name: _told(other) for name, other in others.items()}}
    told |= {f"model.{name}": _form(parameter) for name, parameter in model.named_parameters()}
    if len(set(cluster.gather(_digest(repr(told).encode())))) == 1:
        return
    everyone = cluster.gather(told)
    rank, field = next(
        (rank, field)
        for rank, its in enumerate(everyone)
        for field in {**everyone[0], **its}
        if its.get(field) != everyone[0].get(field)
    )
    here, there = (of.get(field, "nothing") for of in (everyone[rank], everyone[0]))
    error = InputError(field, f"{here} on rank {rank}, {there} on rank 0", "the same on every rank")
    error.shared = True
    raise error


def _told(argument: object) -> str:
    if type(argument).__repr__ is not object.__repr__:
        return repr(argument)
    # else it prints its place in memory, which is another on each rank
    known = (f"{name}={value!r}" for name, value in sorted(vars(argument).items()) if isinstance(value, PLAIN))
    return f"{type(argument).__name__}({', '.join(known)})"


def _optimizer(optimizer: torch.optim.Optimizer) -> Told:
    told = {"optimizer": type(optimizer).__name__}
    for number, group in enumerate(optimizer.param_groups):
        place = f"optimizer.groups[{number}]."
        told |= {place + key: repr(value) for key, value in group.items() if isinstance(value, PLAIN)}
        told[place + "params"] = f"{len(group['params'])} parameters"
    return told


def _batches(batches: AdaptiveBatches) -> Told:
    names = ("global_batch", "min_global_batch", "max_global_batch", "max_micro_batch", "seed")
    told = {name: repr(getattr(batches, name)) for name in names}
    told["dataset"] = f"{batches.plan.n_samples} samples{_content(batches.dataset)}"
    return told


def _content(dataset: Dataset[Any]) -> str:
    """Returns words for what the dataset holds, where that is seen without reading: others may open files by it."""
    if isinstance(dataset, TensorDataset):
        chosen = sorted({0, len(dataset) // 2, len(dataset) - 1})
        rows = [tensor[chosen].detach().cpu().contiguous() for tensor in dataset.tensors]
        return f" with the digest {_digest(b''.join(row.view(torch.uint8).numpy().tobytes() for row in rows))}"
    indices = getattr(dataset, "indices", None)  # of torch's Subset
    return f" with the digest {_digest(repr(list(indices)).encode())}" if indices is not None else ""


def _form(parameter: nn.Parameter) -> str:
    return f"{tuple(parameter.shape)}, {parameter.dtype}{'' if parameter.requires_grad else ', frozen'}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
