"""What every rank must have alike, compared once, before anything is sent that would not fit together.

Ranks tell digests first, because there may be hundreds of them and thousands of parameters; only where these differ do
they tell what they have.
"""

from __future__ import annotations

from torch import nn

from ..cluster import Cluster
from ..errors import InputError
from .settings import Settings, digest


def check_alike(cluster: Cluster, told: Settings, model: nn.Module | None = None) -> None:
    """Compares what the ranks have; all of them call this.

    Args:
        cluster: The ranks.
        told: Words for each thing that this rank has.
        model: The network, of which names, shapes and types are compared: rank 0's weights are sent to all.

    Raises:
        InputError: A rank has something else than rank 0; all ranks raise it.
    """
    if cluster.size == 1:
        return
    if model is not None:
        told = told | {f"model.{name}": _form(parameter) for name, parameter in model.named_parameters()}
    if len(set(cluster.gather(digest(repr(told).encode())))) == 1:
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


def _form(parameter: nn.Parameter) -> str:
    return f"{tuple(parameter.shape)}, {parameter.dtype}{'' if parameter.requires_grad else ', frozen'}"
