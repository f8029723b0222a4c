"""The settings of a training in words: what all ranks must have alike, and what makes a run that goes on the same run.

A setting that differs from those of a checkpoint

    leaves the steps as they are    may: FREE
    changes their rounding          may, and is said: ROUNDING
    changes the run                 may not: all others
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch.utils.data import Dataset, TensorDataset

from ..batches import AdaptiveBatches
from ..errors import InputError
from .options import LoopOptions

Settings = dict[str, str]
"""Words for each setting, by its name."""

FREE = (
    *("journal_every", "journal_trust_ratios", "max_skipped", "checkpoint_minutes", "checkpoint_steps"),
    "policy.journal",  # the same records elsewhere
)
"""The settings that may differ between a checkpoint and the training that goes on from it."""

ROUNDING = {"max_micro_batch": "passes of other sizes are rounded, normalised and measured otherwise"}
"""The settings that may differ, at the price of bits, and why."""

PLAIN = (bool, int, float, str, tuple, type(None))


def settings(
    optimizer: torch.optim.Optimizer, batches: AdaptiveBatches, options: LoopOptions, others: Mapping[str, object]
) -> Settings:
    """Returns the settings of a training, before it has taken a step.

    Args:
        optimizer: The optimizer, with the options of its groups.
        batches: The training set, its limits and its seed.
        options: The options of the loop, whose names stand alone.
        others: Further arguments by name.
    """
    told = {**_optimizer(optimizer), **_batches(batches)}
    told |= {field.name: repr(getattr(options, field.name)) for field in fields(LoopOptions)}
    for name, other in others.items():
        told[name] = type(other).__name__ if other is not None else "None"
        told |= {f"{name}.{key}": repr(value) for key, value in _own(other).items()}
    return told


def check_same(saved: Settings, now: Settings) -> None:
    """Sees that a checkpoint belongs to these settings; what only one of the two names is of another release.

    Raises:
        InputError: A setting differs that must not; the first one is named.
    """
    for name, (before, after) in differences(saved, now).items():
        if name not in FREE and name not in ROUNDING:
            raise InputError(name, after, f"{before}, as in the run that is resumed")


def differences(saved: Settings, now: Settings) -> dict[str, tuple[str, str]]:
    """Returns the settings that differ, each with what it was and is."""
    return {name: (saved[name], now[name]) for name in now if name in saved and saved[name] != now[name]}


def rounded(saved: Settings, now: Settings) -> Iterator[str]:
    """Yields a line for each setting by which a run is no longer the same bit by bit."""
    found = differences(saved, now)
    for name, why in ROUNDING.items():
        if name in found:
            before, after = found[name]
            yield f"{name} {after} instead of {before}: {why}, so the run is no longer the same bit by bit"


def digest(content: bytes) -> str:
    """Returns letters that tell contents apart."""
    return hashlib.sha256(content).hexdigest()[:12]


def content(dataset: Dataset[Any]) -> str:
    """Returns words for what a dataset holds, where that is seen without reading: others may open files by it."""
    if isinstance(dataset, TensorDataset):
        chosen = sorted({0, len(dataset) // 2, len(dataset) - 1})
        rows = [tensor[chosen].detach().cpu().to_dense().contiguous() for tensor in dataset.tensors]
        return f" with the digest {digest(b''.join(row.view(torch.uint8).numpy().tobytes() for row in rows))}"
    indices = getattr(dataset, "indices", None)  # of torch's Subset
    return f" with the digest {digest(repr(list(indices)).encode())}" if indices is not None else ""


def _own(argument: object) -> dict[str, Any]:
    """Returns what an object holds by name: of a dataclass its fields, else what prints alike on each rank."""
    if is_dataclass(argument):
        return {field.name: getattr(argument, field.name) for field in fields(argument)}
    known = sorted(getattr(argument, "__dict__", {}).items())
    return {name.lstrip("_"): value for name, value in known if isinstance(value, PLAIN)}


def _optimizer(optimizer: torch.optim.Optimizer) -> Settings:
    told = {"optimizer": type(optimizer).__name__}
    for number, group in enumerate(optimizer.param_groups):
        place = f"optimizer.groups[{number}]."
        told |= {place + key: repr(value) for key, value in group.items() if isinstance(value, PLAIN)}
        told[place + "params"] = f"{len(group['params'])} parameters"
    return told


def _batches(batches: AdaptiveBatches) -> Settings:
    names = ("global_batch", "min_global_batch", "max_global_batch", "max_micro_batch", "seed")
    weights = batches.weights
    told = {name: repr(getattr(batches, name)) for name in names}
    if batches.finds_micro_batch:
        told["max_micro_batch"] = "auto"
    told["dataset"] = f"{batches.plan.n_samples} samples{content(batches.dataset)}"
    return told | {"weights": "none" if weights is None else f"those with the digest {digest(weights.tobytes())}"}
