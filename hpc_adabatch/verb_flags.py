"""The flags that verbs have of their own, beside the fields of a recipe.

They are apart from what the verbs do: jsonargparse carries out even the imports for type checkers of a module whose
flags it reads, and --help would wait for torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .study.flags import FollowFlags, NodesFlags


@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """The folder of the run, and its end."""

    out: str | None = None
    """The folder of the run; runs/RECIPE-DATE when not given."""
    resume: Literal["no", "auto"] = "no"
    """auto goes on from the folder's checkpoint, or starts when there is none."""
    until: str | None = None
    """METRIC=VALUE, for example accuracy=0.92; the first evaluation as good as that ends the run."""
    tensorboard: bool = False
    """Writes TensorBoard's events into the folder tensorboard of the run as it trains."""


@dataclass(frozen=True, kw_only=True)
class TrainFlags(FollowFlags, RunFlags):
    """The folder of the run, its end, and its nodes."""


@dataclass(frozen=True, kw_only=True)
class PlanFlags(NodesFlags):
    """The ranks to plan for."""

    ranks: int = 1
    """The number of ranks that will train; with --nodes, the number on each node."""
    measure: bool = False
    """Makes a few steps of each size on this machine, to tell hours, with an interval, and memory."""


@dataclass(frozen=True, kw_only=True)
class RecipesFlags:
    """The place of the copy."""

    to: str = ""
    """The file to write; NAME.yaml in this folder when not given."""


@dataclass(frozen=True, kw_only=True)
class WatchFlags:
    """The patience of who watches."""

    wait_s: float = 0.0
    """The time to wait for a run that is yet to start, or for one that has stopped to go on, in seconds."""


@dataclass(frozen=True, kw_only=True)
class ExportFlags:
    """The files to write."""

    to: str = ""
    """The file of the table, whose name ends in .csv or .parquet."""
    tensorboard: bool = False
    """Writes TensorBoard's events into the folder tensorboard of each run."""
    wandb: bool = False
    """Writes an offline run of Weights & Biases into the folder wandb of each run, in place of an earlier one."""


@dataclass(frozen=True, kw_only=True)
class ProbeFlags:
    """The time and the file of a probe."""

    out: str | None = None
    """The JSON file for all numbers; none is written when not given."""
    seconds: float = 120.0
    """The approximate time for measuring, in seconds."""


@dataclass(frozen=True, kw_only=True)
class DoctorFlags:
    """The folder whose file system is looked at."""

    out: str = "runs"
    """The folder for the output, as it would be given to train."""
