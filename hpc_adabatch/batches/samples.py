"""Samples of any form, many at a time: the same form, with a column in the place of each value.

    a sample             {"words": tensor (7,), "of": ("a.txt", 3)}
    five of them         {"words": tensor (5, 7), "of": (["a.txt", ...], tensor (5,))}

Dicts, tuples and lists are forms, lists becoming tuples. Numbers and arrays become one tensor; all else, such as text,
becomes a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from ..errors import InputError

Column = torch.Tensor | list[Any]


def collate(samples: Sequence[Any]) -> Any:
    """Returns the columns of some samples, which have one form.

    Raises:
        InputError: The samples' tensors differ in shape.
        ValueError: The samples' tuples differ in length.
    """
    first = samples[0]
    if isinstance(first, Mapping):
        return {key: collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, tuple | list):
        return _like(first, map(collate, zip(*samples, strict=True)))
    return _stacked(samples) if _is_numeric(first) else list(samples)


def each_column(function: Callable[..., Any], *columns: Any) -> Any:
    """Returns the form of the first argument, with the function's result for the columns in the same places of all."""
    first = columns[0]
    if isinstance(first, dict):
        return {key: each_column(function, *(of[key] for of in columns)) for key in first}
    if isinstance(first, tuple):
        return _like(first, (each_column(function, *parts) for parts in zip(*columns, strict=True)))
    return function(*columns)


def length(columns: Any) -> int:
    """Returns the number of samples.

    Raises:
        ValueError: There is no column.
    """
    found: list[int] = []
    each_column(lambda column: found.append(len(column)), columns)
    if not found:
        raise ValueError("the samples of the dataset are empty")
    return found[0]


def join(parts: Sequence[Any]) -> Any:
    """Returns the columns of all parts, one after another."""
    return each_column(_joined, *parts) if len(parts) > 1 else parts[0]


def cut(columns: Any, start: int | None, stop: int | None) -> Any:
    """Returns some of the samples, as a view where they are tensors."""
    return each_column(lambda column: column[start:stop], columns)


def _is_numeric(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufc"
    return isinstance(value, torch.Tensor | int | float | complex)


def _stacked(samples: Sequence[Any]) -> torch.Tensor:
    shapes = {tuple(np.shape(sample)): None for sample in samples}  # in the order of the samples
    if len(shapes) > 1:
        given = " and ".join(map(str, [*shapes][:2]))
        allowed = "samples of one shape, or a collate function that pads those of a micro-batch"
        raise InputError("dataset", f"samples of shapes {given}", allowed, "AdaptiveBatches(dataset, 64, collate=...)")
    return default_collate(list(samples))


def _joined(*columns: Any) -> Column:
    if isinstance(columns[0], list):
        return [value for column in columns for value in column]
    return torch.cat(columns)


def _like(form: Any, parts: Iterator[Any]) -> Any:
    return type(form)(*parts) if hasattr(form, "_fields") else tuple(parts)  # a named tuple keeps its names
