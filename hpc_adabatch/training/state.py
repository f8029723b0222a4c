"""The state of all ranks at a step boundary, on disk, and going on from it.

shared by all ranks    weights, optimizer, plan, batch, decisions (AdaptiveTraining.state_dict)
of each rank           the generators that dropout and samples draw from; buffers, such as the running statistics of
                       normalisation layers, where they are not rank 0's

A training that goes on on as many ranks equals one that was never stopped, bit by bit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from ..batches.plan import BatchPlan
from ..cluster import Cluster
from ..errors import InputError, complain, reading, real, require
from ..records import fits
from . import checkpoint
from .generators import generators, set_generators
from .micro_batch import MicroBatch
from .settings import Settings, check_same, rounded

PLAIN = (torch.Tensor, str, int, float, bool, bytes, type(None))  # all that torch.load takes from anyone's file


@runtime_checkable
class Stateful(Protocol):
    """An object whose state can be saved: a module, a scheduler, a counter of the script's own."""

    def state_dict(self) -> Any:
        """Returns tensors, numbers and texts, in dictionaries, lists and tuples."""

    def load_state_dict(self, state: Any) -> object:
        """Takes up what ``state_dict`` returned."""


class Training(Protocol):
    """A training as this module sees it (adaptive.py)."""

    model: nn.Module
    plan: BatchPlan
    also: dict[str, Stateful]
    settings: Settings
    micro_batch: MicroBatch
    cluster: Cluster

    def state_dict(self) -> dict[str, Any]:
        """Returns what all ranks share."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what ``state_dict`` returned."""


def collect(training: Training, cluster: Cluster) -> dict[str, Any]:
    """Returns the state of all ranks, on every rank.

    Raises:
        InputError: An object of the script's own has a state that no file can hold; all ranks raise it.
    """
    shared = training.state_dict()
    with cluster.together():
        for name, state in shared.get("also", {}).items():
            for kind in sorted({type(value).__name__ for value in _values(state) if not isinstance(value, PLAIN)}):
                allowed = "tensors, numbers and texts, in dictionaries, lists and tuples"
                raise InputError(f"also.{name}", f"a state with {kind} in it", allowed)
    own = generators(cluster.device)
    buffers = {name: _unlike_rank_0(module, cluster) for name, module in _modules(training).items()}
    own |= {"buffers": buffers.pop("model"), "also": buffers}
    return {"training": shared, "ranks": cluster.gather(own)}


def check(training: Training, state: dict[str, Any]) -> None:
    """Sees that the state that ``collect`` returned is one of such a training.

    Raises:
        InputError: The training set has another length.
        LookupError, TypeError, ValueError: A value is missing, of another type or out of range, though the file is
            whole.
    """
    strange = list(_strange(state["training"], training.state_dict()))
    if strange:
        raise TypeError(f"another type of {', '.join(strange)}")
    plan, least = state["training"]["plan"], {"global_batch": 1, "start_batch": 1, "steps": 0}
    low = [name for name, smallest in least.items() if state["training"][name] < smallest]
    if low or not (plan["epoch"] >= 0 and 0 <= plan["cursor"] <= plan["n_samples"]):
        raise ValueError(f"{', '.join(low) or 'the place in the epoch'} out of range")
    there, here = plan["n_samples"], training.plan.n_samples
    allowed = f"one of {there}, as in the run that is resumed"
    require(there == here, "task", f"a training set of {here} samples", allowed, "the task of that run")


def restore(training: Training, cluster: Cluster, state: dict[str, Any]) -> None:
    """Goes on from the state that ``collect`` returned, on any number of ranks: new ones keep their generators.

    Raises:
        LookupError, TypeError, ValueError: The state is not that of such a training.
    """
    try:
        training.load_state_dict(state["training"])
    except RuntimeError as error:  # of torch, for weights of another network
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        raise ValueError(str(error)) from error
    if cluster.rank >= len(state["ranks"]):
        return
    own = state["ranks"][cluster.rank]
    set_generators(own, cluster.device)
    buffers = {"model": own.get("buffers", {}), **own.get("also", {})}
    for name, module in _modules(training).items():
        module.load_state_dict(buffers.get(name, {}), strict=False)


def save(training: Training, folder: Path) -> None:
    """Writes the state of all ranks to a folder, in which the one before is kept.

    Raises:
        StorageError: It cannot be written; all ranks raise it.
    """
    cluster = training.cluster
    state = collect(training, cluster) | {"settings": training.settings}
    with cluster.together():
        if cluster.leads:
            checkpoint.save(folder, state)


def load(training: Training, folder: Path) -> bool:
    """Goes on from the newest whole state in a folder; returns False where there is none.

    Raises:
        InputError: There are checkpoints, and none is whole, or the settings are others; all ranks raise it.
    """
    cluster = training.cluster
    with cluster.together():
        loaded = checkpoint.load(folder, cluster)
        if loaded is None:
            return False
        with reading("checkpoint", folder, "the checkpoint of such a training", "another folder, to start anew"):
            check_same(loaded.state["settings"], training.settings)
            check(training, loaded.state)
            restore(training, cluster, loaded.state)
    if cluster.leads:
        changes = rounded(loaded.state["settings"], training.settings)
        for line in (*changes, *training.micro_batch.told(), *loaded.told(folder)):
            complain(f"adabatch: {line}")
        checkpoint.put_aside(folder, loaded.damaged)
    return True


def _modules(training: Training) -> dict[str, nn.Module]:
    """Returns the modules whose buffers each rank has for itself, by name."""
    also = {name: module for name, module in training.also.items() if isinstance(module, nn.Module)}
    return {"model": training.model, **also}


def _unlike_rank_0(module: nn.Module, cluster: Cluster) -> dict[str, torch.Tensor]:
    """Returns the buffers of this rank that are not bit by bit those of rank 0, whose own the shared state holds."""
    state = module.state_dict()
    mine = {name: state[name].cpu() for name, _ in module.named_buffers() if name in state}
    digests = {name: _digest(buffer) for name, buffer in mine.items()}
    first = cluster.tell(digests)
    return {name: buffer for name, buffer in mine.items() if first.get(name) != digests[name]}


def _digest(tensor: torch.Tensor) -> str:
    content = tensor.detach().contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else torch.empty(0)
    return hashlib.sha256(content.numpy().tobytes()).hexdigest()


def _values(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list | tuple):
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from _values(inner)
    else:
        yield tree


def _strange(saved: Any, fresh: Any, name: str = "training") -> Iterator[str]:
    """Yields the names of values whose type is another one than in the state of a training that has just begun."""
    if isinstance(fresh, dict) and isinstance(saved, dict):
        for key in fresh.keys() & saved.keys():
            if name != "training" or key != "also":
                yield from _strange(saved[key], fresh[key], f"{name}.{key}")
    elif isinstance(fresh, torch.Tensor):
        if not (isinstance(saved, torch.Tensor) and saved.shape == fresh.shape):
            yield name
    elif isinstance(fresh, float):
        if math.isnan(real(saved)) and not isinstance(saved, float):
            yield name
    elif fresh is not None and not fits(saved, type(fresh)):
        yield name
