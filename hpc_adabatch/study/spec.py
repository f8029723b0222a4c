"""A study as it stands in study.json: everything that submitting it needs.

The file is written once, by ``plan``, and never changed: what happens to the cells stands in submissions.jsonl.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import reading, require
from ..records import FORMAT, check_format, misfit
from .cells import Cell

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CELL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
FIXED_MODES = ("strong", "weak")
"""The modes whose cells keep their batch."""
MODES = (*FIXED_MODES, "adaptive", "follow")


@dataclass(frozen=True, kw_only=True)
class Study:
    """A grid of cells, and how they are started."""

    name: str
    """The study's name."""
    key: str
    """Random letters that tell the jobs of this study from those of another one of the same name."""
    created: str
    """The time of the plan, in ISO 8601."""
    modes: tuple[str, ...]
    """strong, weak, adaptive, follow: those of the study, in the order given."""
    nodes: tuple[int, ...]
    """The node counts, in the order given."""
    ranks_per_node: int
    """The number of ranks on each node."""
    repeats: int
    """Jobs of each cell of the grid."""
    warmup: int
    """Steps before the measured ones, where steps are measured."""
    steps: int
    """Measured steps."""
    until: str | None
    """The target that cells train to, METRIC=VALUE; None where steps are measured."""
    vary: dict[str, tuple[str, ...]]
    """The values by field of --vary: every combination is a variant."""
    zipped: dict[str, tuple[str, ...]]
    """The values by field of --zip, one for each node count."""
    where: str
    """The place of the jobs: slurm or local."""
    template: str
    """The path of the batch script as given; empty where there is none."""
    launcher: str
    """The program that starts the ranks: srun, horovodrun or mpirun."""
    sbatch: tuple[str, ...]
    """Further flags of sbatch."""
    time_limit_s: float | None
    """The time limit of one job, in seconds; None where none is told."""
    recipe: str
    """The path of the recipe as given."""
    flags: tuple[str, ...]
    """The fields set for all cells, after the recipe."""
    directory: str
    """The folder that plan was called in and that jobs start in; absolute."""
    cells: tuple[Cell, ...]
    """All cells, repeats outermost."""

    def node_hours(self, cells: Sequence[Cell]) -> float | None:
        """Returns the most node-hours that these cells use without being requeued; None without a time limit.

        A cell whose nodes follow its batch counts as one job on its most nodes, of all that it may go through.
        """
        if self.time_limit_s is None:
            return None
        most = [max(self.nodes) if cell.mode == "follow" else cell.nodes for cell in cells]
        return sum(most) * self.time_limit_s / 3600

    def hours_in_words(self, cells: Sequence[Cell]) -> str:
        """Returns the most node-hours that these cells use, for a line of text."""
        hours = self.node_hours(cells)
        if hours is None:
            return "without a time limit that is known (--time)"
        return f"at most {hours:.2f} node-hours{_counted(cells)}"

    def about(self, where: str) -> dict[str, str]:
        """Returns what was run, by name, in the order of a report.

        Args:
            where: The place of the jobs, in words.
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
            "at most": "no time limit" if hours is None else f"{hours:.3g} node-hours{_counted(self.cells)}",
        }

    def job_name(self, cell: str, attempt: int) -> str:
        """Returns the Slurm job name of an attempt at a cell; unique, so squeue can find the job by it."""
        return f"{self.job_prefix(cell)}{attempt}"

    def job_prefix(self, cell: str) -> str:
        """Returns what the Slurm job names of all attempts at a cell begin with."""
        return f"adabatch:{self.name}:{cell}:{self.key}-"

    def to_json(self) -> str:
        """Returns the content of study.json."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"


def _counted(cells: Sequence[Cell]) -> str:
    """Returns how node-hours were counted that a run may go beyond, for the end of a line; else nothing."""
    follows = any(cell.mode == "follow" for cell in cells)
    return ", each run whose nodes follow counted as one job on the most" if follows else ""


def check_name(name: str) -> str:
    """Returns the name, if a study may have it.

    Raises:
        InputError: No study may have this name.
    """
    allowed = "letters, digits, '.', '_' and '-', at most 64, the first a letter or a digit"
    require(NAME.fullmatch(name) is not None, "NAME", repr(name), allowed, "adabatch study plan scaling")
    return name


def from_json(text: str) -> Study:
    """Returns the study of the text of ``to_json``.

    Raises:
        InputError: The text is damaged, or a newer release has written it.
    """
    found, allowed, hint = "one that cannot be read", "the file as plan wrote it", "adabatch study plan NAME"
    with reading("study.json", found, allowed, hint):
        content = json.loads(text)
        check_format(content, "study.json", "one")
        content["cells"] = tuple(Cell(**_tuples(cell)) for cell in content["cells"])
        content |= {name: {k: tuple(v) for k, v in content[name].items()} for name in ("vary", "zipped")}
        study = Study(**_tuples({field.name: content[field.name] for field in fields(Study)}))
        cells = study.cells
        wrong = [name for record in (study, *cells) if (name := misfit(record)) is not None]
        require(not wrong, "study.json", f"{found} (another type of {', '.join(wrong)})", allowed, hint)
        counts = (study.ranks_per_node, *study.nodes, *(cell.nodes for cell in cells), *(cell.ranks for cell in cells))
        require(min(counts) >= 1, "study.json", f"{found} (a count of {min(counts)})", allowed, hint)
        names = [cell.name for cell in cells]
        modes = set(study.modes) == {cell.mode for cell in cells} <= set(MODES)
        usable = modes and all(map(_CELL.fullmatch, names)) and len(set(names)) == len(names)
        usable = usable and NAME.fullmatch(study.name) is not None
        require(usable, "study.json", f"{found} (names that no plan gives)", allowed, hint)
    return study


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
