"""Records read from files: their format, and whether each field of a dataclass holds what its annotation says.

Files may be damaged, edited by hand, or of another release, so what they hold is looked at before it is used.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from .errors import real, require, whole

FORMAT = 1
"""The format of the files that this release writes: a larger number where earlier releases would misread a file."""


def check_format(record: Mapping[str, Any], field: str, given: object) -> None:
    """Sees that a record is not of a newer release; one without a number is of format 1.

    Args:
        record: The record.
        field: The name of the file, or of the field that names it.
        given: The file.

    Raises:
        InputError: The format is newer, or is none.
    """
    number = record.get("format", 1)
    allowed = f"format {FORMAT}, or a newer release of hpc_adabatch, which reads this file"
    require(1 <= whole(number) <= FORMAT, field, f"{given}, in format {number}", allowed)


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
        return -math.inf < (whole(value) if kind is int else real(value)) < math.inf  # integers may exceed floats
    return kind is Any or isinstance(value, kind)


def misfit(record: Any) -> str | None:
    """Returns the name of the first field of a dataclass whose value is not of its kind; None where all are."""
    kinds, known = get_type_hints(type(record)), fields(record)
    return next((field.name for field in known if not fits(getattr(record, field.name), kinds[field.name])), None)
