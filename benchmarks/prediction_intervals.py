"""Counts how often the 95 % interval of a predicted step holds the time of a new job, over made-up studies.

    python benchmarks/prediction_intervals.py [--studies 2000] [--seed 0] > docs/results/prediction-intervals.md

Each study has a machine of its own, whose costs are known (synthetic.py). How its communication is mixed, whether
computing hides a part of it, scaling, spread between jobs, node counts and repeats are drawn at random. Predicted are
steps on the largest count that ran, and on twice and four times as many nodes. The model is
hpc_adabatch/study/scaling/model.py. Nothing is measured: the table is the same on any machine.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from synthetic import any_machine, layout_of

from hpc_adabatch.study.scaling.columns import Layout
from hpc_adabatch.study.scaling.model import ScalingModel

FARTHER = (1, 2, 4)  # times the largest count that ran
MIXTURES = {"nearly one part": (0.1, 0.4), "a few parts": (0.4, 1.6), "all parts": (1.6, 6.4)}
"""The concentration of the Dirichlet distribution that divides communication, from and to."""
HEADING = """\
# How often the interval of a prediction is right

    python benchmarks/prediction_intervals.py > docs/results/prediction-intervals.md
"""
EXPLAINED = """
right: the new job's time is within the 95 % interval, by node count over the largest that ran. earlier, later: it is
below or above. width: the interval's high end over its low end, in the median. any mixture: the same where the ends are
those of the last mixture of columns that fits, likely or not. The last row is of machines beside all others, for which
one part is all of communication: that lies at the edge of what a study leaves open.
"""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A study, and what became of its predictions, one for each of ``FARTHER``."""

    given: dict[str, str]
    """What was drawn, in words."""
    place: tuple[int, ...]
    """-1 where the new job took less time than the interval says, 1 where it took more, 0 where it was within."""
    width: tuple[float, ...]
    """The high end of each interval over its low end."""
    reach: tuple[float, ...]
    """The same of all mixtures of columns that fit, likely or not."""


def try_studies(count: int, seed: int, *, alone: bool = False) -> Iterator[Tried]:
    """Yields so many studies with their predictions.

    Args:
        count: The number of studies.
        seed: The seed of all that is drawn.
        alone: True for machines whose communication is one part alone: the edge of what a study leaves open.
    """
    draw = np.random.default_rng(seed)
    for _ in range(count):
        kind, hides = list(MIXTURES)[draw.integers(3)], bool(draw.integers(2))
        mixture = 0.0 if alone else float(np.exp(draw.uniform(*np.log(MIXTURES[kind]))))
        mode, spread = ("strong", "weak")[draw.integers(2)], (0.005, 0.02, 0.05)[draw.integers(3)]
        nodes, repeats = ((1, 2, 4), (1, 2, 4, 8), (1, 2, 4, 8, 16))[draw.integers(3)], (2, 3, 5)[draw.integers(3)]
        machine = any_machine(draw, hides=hides, mixture=mixture, spread=spread)
        model = ScalingModel(machine.study(mode, nodes, repeats, draw))
        place, width, reach = [], [], []
        for times in FARTHER:
            layout = layout_of(mode, times * nodes[-1])
            found, truth = model.predict(layout), machine.job(layout, draw).step_s
            assert found.low is not None
            assert found.high is not None
            place.append(int(truth > found.high) - int(truth < found.low))
            width.append(found.high / found.low)
            reach.append(_reach(model, layout))
        given = {
            "communication": kind,
            "hidden": "partly" if hides else "not",
            "scaling": mode,
            "spread": f"{100 * spread:g} %",
            "nodes": ", ".join(map(str, nodes)),
            "repeats": str(repeats),
        }
        yield Tried(given=given, place=tuple(place), width=tuple(width), reach=tuple(reach))


def _reach(model: ScalingModel, layout: Layout) -> float:
    """Returns high over low end of what any mixture in any account leaves open, with the spread between jobs."""
    spread, _ = model.noise["step"]
    ends = []
    for account in model.accounts:
        row = account.row(model, layout)
        ends.append(account.profile.interval(row, model.quantile(), spread * max(account.profile.value(row), 0.0)))
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return high / low if low > 0 else math.inf


def rows(tried: Sequence[Tried]) -> Iterator[str]:
    """Yields the table: all studies, then those of each kind."""
    yield "| studies | | right, x1 | x2 | x4 | earlier | later | width, x1 | x2 | x4 | any mixture, x1 | x2 | x4 |"
    yield "|---|--:|" + "--:|" * 11
    yield _row("all", tried)
    for name in tried[0].given:
        for value in sorted({one.given[name] for one in tried}, key=lambda text: (len(text), text)):
            yield _row(f"{name}: {value}", [one for one in tried if one.given[name] == value])


def _row(title: str, tried: Sequence[Tried]) -> str:
    place = np.array([one.place for one in tried])  # (studies, distances)
    right = [f"{100 * part:.1f} %" for part in (place == 0).mean(axis=0)]
    off = [f"{100 * (place == side).mean():.1f} %" for side in (-1, 1)]
    widths = [f"{value:.2f}" for value in np.median([one.width for one in tried], axis=0)]
    reaches = [f"{value:.2f}" for value in np.median([one.reach for one in tried], axis=0)]
    return f"| {' | '.join([title, str(len(tried)), *right, *off, *widths, *reaches])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="number of studies")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    print(HEADING + "\n" + __doc__.partition("\n\n")[2].partition("\n\n")[2] + EXPLAINED)
    tried = list(try_studies(flags.studies, flags.seed))
    for line in rows(tried):
        print(line)
    print(_row("one part alone", list(try_studies(flags.studies // 5, flags.seed + 1, alone=True))))
    right = np.mean([place == 0 for one in tried for place in one.place])
    print(f"\nright in {100 * right:.1f} % of {len(FARTHER) * len(tried)} predictions")


if __name__ == "__main__":
    main()
