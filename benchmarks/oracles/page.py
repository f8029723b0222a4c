"""The page of oracles: a line for each case, over all numbers of ranks on which it was computed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from ..cells import code
from ..machine import machine, versions
from . import averages, big_batch, measured, noise, rates, rules, steps
from .case import TOLERANCE, Case, Found, apart

TOPICS: dict[str, list[Case]] = {
    "The noise of the gradient": noise.CASES,
    "The noise of the gradient, averaged": averages.CASES,
    "Rules that follow a schedule or the loss": rules.CASES,
    "Rules that measure": measured.CASES,
    "Big Batch SGD": big_batch.CASES,
    "Optimizers": steps.CASES,
    "Learning rate and weight decay": rates.CASES,
}
CASES = [case for cases in TOPICS.values() for case in cases]
COLUMNS = ("paper and equation", "case", "ranks", "oracle", "package", "relative difference", "holds?")
COMMAND = "python -m benchmarks.oracles --write docs/results/oracles.md"
MEANING = """
Each line computes a paper's equation directly, beside what the package comes to when it trains a network of 39
parameters through `AdaptiveTraining`, in float64 on real ranks. The oracle takes from the package which samples were
in which pass, which steps were skipped, and for optimizers the learning rate, which has lines of its own. It has the
gradient of each sample from torch.func, walks by itself from the first weights, and its equations import nothing of
`hpc_adabatch` (benchmarks/oracles/equations/, benchmarks/formulas.py).

A line holds where all its numbers agree to 1e-9 of the oracle's, unless it says otherwise, on each of its numbers of
ranks; one side having other numbers than the other does not. Shown are the numbers of the ranks that differ most: the
first of many, or the one that differs most. "Length of" stands for a row of weights or gradients, compared as a whole.
Lines whose paper is "ours" are the package's own rules, where papers have none or where it does otherwise.
""".strip().splitlines()


def page(found: Mapping[Case, Sequence[Found]]) -> str:
    """Returns the page.

    Args:
        found: what each case has come to, for each number of ranks.
    """
    held = sum(holds(case, some) for case, some in found.items())
    most = max(one.ranks for some in found.values() for one in some)
    lines = [
        "# Each equation beside the package",
        "",
        f"    {COMMAND}",
        "",
        f"{time.strftime('%Y-%m-%d')}, {code()}; {machine(most)}; {versions()}.",
        "",
        *MEANING,
        "",
        f"**{held} of {len(found)} lines hold.**",
    ]
    for topic, cases in TOPICS.items():
        shown = [line(case, found[case]) for case in cases if case in found]
        if shown:
            lines += ["", f"## {topic}", "", row(COLUMNS), "|---" * len(COLUMNS) + "|", *shown]
    return "\n".join(lines) + "\n"


def holds(case: Case, found: Sequence[Found]) -> bool:
    """Reports whether a case holds on all numbers of ranks."""
    return all(one.difference <= case.tolerance for one in found)


def line(case: Case, found: Sequence[Found]) -> str:
    """Returns the line of a case."""
    worst = max(found, key=lambda one: one.difference)
    difference = "other numbers" if math.isinf(worst.difference) else f"{worst.difference:.0e}"
    difference = "0" if worst.difference == 0 else difference
    allowed = "" if case.tolerance <= TOLERANCE else f" (at most {case.tolerance:g})"
    verdict = "yes" if holds(case, found) else "**no**"
    oracle, package = (worst.error, worst.error) if worst.error else shown(worst)
    ranks = ", ".join(str(one.ranks) for one in found)
    return row((case.paper, case.text, ranks, oracle, package, difference + allowed, verdict))


def shown(found: Found) -> tuple[str, str]:
    """Returns both sides as texts: all of a few numbers; the first of many, or the one that differs."""
    sides = found.oracle, found.package
    count = len(sides[0])
    if found.row:
        return f"length of {number(sides[0][0])}", f"length of {number(sides[1][0])}"
    if max(map(len, sides)) <= 4:
        return ", ".join(map(number, sides[0])), ", ".join(map(number, sides[1]))
    if count != len(sides[1]):
        return f"{count} numbers", f"{len(sides[1])} numbers"
    each = [apart(a, b) for a, b in zip(*sides, strict=True)]
    if max(each) > TOLERANCE:
        place = each.index(max(each))
        return f"{number(sides[0][place])} (no. {place + 1} of {count})", number(sides[1][place])
    first, second = (", ".join(map(number, side[:3])) for side in sides)
    return f"{first}, ... ({count} numbers)", f"{second}, ..."


def number(value: float) -> str:
    """Returns a number with seven digits; a whole one as it is."""
    return f"{value:.0f}" if value == round(value, 9) and abs(value) < 1e9 and value == int(value) else f"{value:.7g}"


def row(cells: Sequence[str]) -> str:
    """Returns a line of a table in Markdown."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
