"""An experiment of a paper: its recipe, its rows, and the claims that its table must bear out.

    recipe  +  flags of the setting  +  flags of the row  +  seed   ->   one run, kept on disk (../cells.py)
    runs of a row, one a seed                                      ->   mean and spread
    all rows                                                       ->   claims, each with its numbers and yes or no

A setting is ``quick`` (two CPU cores, 2 ranks) or ``full`` (GPUs, the paper's sizes): other flags over the same recipe.
A row may be tuned: the best of a grid on the first seed, which all seeds then run. The grid stays in the page.
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from outcome import Outcome

Found = Mapping[str, Sequence[Outcome]]  # by row, one a seed; rows that are not complete are missing


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table."""

    name: str
    flags: str = ""
    """Flags that the row adds to recipe and setting."""
    grid: Mapping[str, str] = field(default_factory=dict)
    """Label -> further flags; the best on the first seed becomes the row. Empty where nothing is tuned."""
    says: str = ""
    """The description on the page."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper, and whether these runs bear it out."""

    text: str
    numbers: str
    holds: bool


class Study(ABC):
    """An experiment of a paper.

    Attributes:
        name: name on the command line, and start of its files' names.
        title: title of the page.
        recipe: a file under recipes/.
        needs: kind of data that the runs read: ``images``, ``text``, or ``nothing`` where the package brings it.
        settings: flags that each setting adds to the recipe.
        about: the page's description of both settings.
        classes: number of classes; the loss of guessing is its logarithm.
        seeds: seeds of the table, unless the command names others; the first also tunes.
        by: the picture's second axis, beside the epochs: ``updates`` or ``wall_s``.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    recipe: ClassVar[str]
    needs: ClassVar[str] = "images"
    settings: ClassVar[Mapping[str, str]]
    about: ClassVar[str]
    by: ClassVar[str] = "updates"
    classes: int = 10
    seeds: ClassVar[tuple[int, ...]] = (0, 1, 2)

    @abstractmethod
    def rows(self, setting: str) -> list[Row]:
        """Returns the rows in the table's order; the others are compared with the first."""

    @abstractmethod
    def claims(self, found: Found) -> list[Claim]:
        """Returns the claims whose rows are complete."""


def mean(runs: Sequence[Outcome], field: str = "best") -> float:
    """Returns the mean of a field over the seeds."""
    return statistics.mean(getattr(run, field) for run in runs)


def points(found: Found, row: str, baseline: str, field: str = "best") -> float:
    """Returns the points of accuracy by which a row lies above the baseline, as means over seeds."""
    return 100 * (mean(found[row], field) - mean(found[baseline], field))


def within(found: Found, row: str, baseline: str, limit: float, text: str, field: str = "best") -> Claim:
    """Returns the claim that a row loses at most ``limit`` points against the baseline."""
    gap = points(found, row, baseline, field)
    return Claim(text=text, numbers=f"{gap:+.2f} points", holds=gap >= -limit)


def behind(found: Found, row: str, baseline: str, least: float, text: str, field: str = "best") -> Claim:
    """Returns the claim that a row loses at least ``least`` points against the baseline, or diverges."""
    gap = points(found, row, baseline, field)
    diverged = sum(run.diverged for run in found[row])
    numbers = f"{gap:+.2f} points" + (f", {diverged} of {len(found[row])} diverged" if diverged else "")
    return Claim(text=text, numbers=numbers, holds=gap <= -least or diverged == len(found[row]))
