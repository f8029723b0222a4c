"""The cells of a study: their names, and filters that choose among them.

cell    mode x nodes x variant x repeat                                     strong_n004_fixed_r1
filter  FIELD OP VALUE[|VALUE...] with commas between; all must hold        nodes<=4,variant=fixed|big-batch
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError, require

FIELDS = ("mode", "nodes", "variant", "repeat")
_COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_TERM = re.compile(r"\s*(\w+)\s*(<=|>=|!=|==|=|<|>)\s*([\w.+|-]*)\s*")
_LONGEST_LABEL = 60  # a cell is a folder and a part of a job's name


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One job of a study."""

    name: str
    """The name of the cell and of its folder; unique in the study."""
    mode: str
    """strong, weak, adaptive or follow."""
    nodes: int
    """The number of nodes; where they follow the batch, those that the run begins on."""
    ranks: int
    """The number of ranks over all nodes."""
    variant: str
    """A label of the values that --vary set; empty without --vary."""
    repeat: int
    """The number of the repeat, from 1."""
    verb: str
    """The command that the job runs: measure or train."""
    arguments: tuple[str, ...]
    """The flags after VERB RECIPE, without --out."""
    global_batch: int
    """Samples of a step over all ranks; at the start, where the batch grows."""


def cell_name(mode: str, nodes: int, variant: str, repeat: int) -> str:
    """Returns a cell's name, such as strong_n004_fixed_r1."""
    return "_".join(part for part in (mode, f"n{nodes:03d}", variant, f"r{repeat}") if part)


def variants(varied: Mapping[str, Sequence[str]]) -> list[tuple[str, dict[str, str]]]:
    """Returns every combination of the varied fields' values as (label, value by field); no label comes twice."""
    found: list[tuple[str, dict[str, str]]] = []
    taken: set[str] = set()
    for values in itertools.product(*varied.values()):
        chosen = dict(zip(varied, values, strict=True))
        label = plain = "+".join(_label(field, value) for field, value in chosen.items())[:_LONGEST_LABEL]
        for number in itertools.count(2):
            if label not in taken:
                break
            label = f"{plain}-{number}"
        taken.add(label)
        found.append((label, chosen))
    return found


def _label(field: str, value: str) -> str:
    """Returns the label of a value: a name stands for itself, a number stands behind its field, as in lr-0.1."""
    bare = re.fullmatch(r"[-+.\d][-+.\deE]*|true|false|null|", value)
    text = f"{field.rpartition('.')[2]}-{value}" if bare else value
    return re.sub(r"[^A-Za-z0-9.+-]", "-", text)


def select(cells: Iterable[Cell], text: str) -> list[Cell]:
    """Returns the cells for which every term of the filter holds; all of them for an empty filter.

    Raises:
        InputError: The filter cannot be read.
    """
    terms = [_term(part) for part in text.split(",")] if text.strip() else []
    return [cell for cell in cells if all(_holds(cell, *term) for term in terms)]


def _term(text: str) -> tuple[str, str, list[str]]:
    hint = "--cells 'nodes<=4,mode=strong'"
    found = _TERM.fullmatch(text)
    if found is None:
        raise InputError("cells", text, "FIELD<=VALUE, also with < > >= = !=, and commas between", hint)
    field, sign, values = found[1], found[2], found[3].split("|")
    require(field in FIELDS, "cells", field, ", ".join(FIELDS), hint)
    if field in ("nodes", "repeat"):
        require(all(value.isdigit() for value in values), "cells", text, "a whole number", hint)
    if sign in _COMPARE:
        require(field in ("nodes", "repeat"), "cells", text, f"{field}=VALUE or {field}!=VALUE", hint)
        require(len(values) == 1, "cells", text, "one value", hint)
    return field, sign, values


def _holds(cell: Cell, field: str, sign: str, values: list[str]) -> bool:
    own = getattr(cell, field)
    if sign in _COMPARE:
        return bool(_COMPARE[sign](own, int(values[0])))
    among = own in ([int(value) for value in values] if isinstance(own, int) else values)
    return among is (sign != "!=")
