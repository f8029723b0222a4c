"""Records read from files: whether each field of a dataclass holds what its annotation says.

Files may be damaged, or edited by hand, so what they hold is looked at before it is used.
"""

from __future__ import annotations

import math
import types
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from .errors import real, whole


def fits(value: object, kind: Any) -> bool:
    """Reports whether a value is of a kind that annotations name: ``fits((1, 2), tuple[int, ...])`` is True.

    Args:
        value: The value.
        kind: A type, a union of kinds, ``tuple[kind, ...]`` or ``dict[kind, kind]``. A number is finite.
    """
    inner = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(fits(one, inner[0]) for one in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(fits(a, inner[0]) and fits(b, inner[1]) for a, b in value.items())
    if kind in (int, float):
        return math.isfinite(whole(value) if kind is int else real(value))
    return kind is Any or isinstance(value, kind)


def misfit(record: Any) -> str | None:
    """Returns the name of the first field of a dataclass whose value is not of its kind; None where all are."""
    kinds, known = get_type_hints(type(record)), fields(record)
    return next((field.name for field in known if not fits(getattr(record, field.name), kinds[field.name])), None)
