"""A study as it is written down: everything that submitting it needs, in study.json.

It is written once, by ``plan``, and never changed: what happens to its cells stands in submissions.jsonl.

Not here: how it comes about (grid.py), files (folder.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import InputError, require
from .cells import Cell

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MODES = ("strong", "weak", "adaptive")


@dataclass(frozen=True, kw_only=True)
class Study:
    """A grid of cells, and how they are started."""

    name: str
    key: str
    """Random letters that tell its jobs from those of another study of the same name."""
    created: str
    """ISO 8601."""
    modes: tuple[str, ...]
    nodes: tuple[int, ...]
    ranks_per_node: int
    repeats: int
    warmup: int
    steps: int
    until: str | None
    """METRIC=VALUE."""
    vary: dict[str, tuple[str, ...]]
    """Values by field: every combination is a variant."""
    zipped: dict[str, tuple[str, ...]]
    """Values by field, one a node count."""
    where: str
    """slurm or local."""
    template: str
    """Its path as given; empty with where=local."""
    launcher: str
    sbatch: tuple[str, ...]
    """Further flags of sbatch."""
    time_limit_s: float | None
    """Of one job; None where none is told."""
    recipe: str
    """Its path as given."""
    flags: tuple[str, ...]
    """Fields set for all cells, after the recipe."""
    directory: str
    """Absolute: where plan was called, and where jobs start."""
    cells: tuple[Cell, ...]

    def node_hours(self, cells: Sequence[Cell]) -> float | None:
        """Returns the most node-hours that these cells use without being requeued; None without a time limit."""
        if self.time_limit_s is None:
            return None
        return sum(cell.nodes for cell in cells) * self.time_limit_s / 3600

    def hours_in_words(self, cells: Sequence[Cell]) -> str:
        """Returns the most node-hours that these cells use, for a line of text."""
        hours = self.node_hours(cells)
        return "without a time limit that is known (--time)" if hours is None else f"at most {hours:.2f} node-hours"

    def about(self, where: str) -> dict[str, str]:
        """Returns what was run, by name, in the order of a report.

        Args:
            where: the place of the jobs, in words.
        """
        hours = self.node_hours(self.cells)
        fields = {**self.vary, **self.zipped}
        return {
            "name": self.name,
            "planned": self.created,
            "recipe": " ".join((self.recipe, *self.flags)),
            "modes": ", ".join(self.modes),
            "nodes": ", ".join(map(str, self.nodes)),
            "ranks per node": str(self.ranks_per_node),
            "repeats": str(self.repeats),
            "until": self.until or f"{self.steps} steps after {self.warmup}",
            **{field: ", ".join(values) for field, values in fields.items()},
            "where": where,
            "sbatch": " ".join(self.sbatch),
            "at most": "no time limit" if hours is None else f"{hours:.3g} node-hours",
        }

    def job_name(self, cell: str, attempt: int) -> str:
        """By which Slurm can be asked for the job; no other job has it."""
        return f"{self.job_prefix(cell)}{attempt}"

    def job_prefix(self, cell: str) -> str:
        """Of all attempts at a cell."""
        return f"adabatch:{self.name}:{cell}:{self.key}-"

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def check_name(name: str) -> str:
    """The name, if a study may have it.

    Raises:
        InputError: it may not.
    """
    allowed = "letters, digits, '.', '_' and '-', at most 64, the first a letter or a digit"
    require(NAME.fullmatch(name) is not None, "NAME", repr(name), allowed, "adabatch study plan scaling")
    return name


def from_json(text: str) -> Study:
    """The study of ``to_json``.

    Raises:
        InputError: it is damaged.
    """
    try:
        content = json.loads(text)
        content["cells"] = tuple(Cell(**_tuples(cell)) for cell in content["cells"])
        content |= {name: {k: tuple(v) for k, v in content[name].items()} for name in ("vary", "zipped")}
        return Study(**_tuples({field.name: content[field.name] for field in fields(Study)}))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        found = f"one that cannot be read ({type(error).__name__}: {error})"
        raise InputError("study.json", found, "the file as plan wrote it", "adabatch study plan NAME") from error


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
