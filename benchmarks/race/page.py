"""Writes the runs of the race as a page of tables: an arm a line, a table for each network and link.

Seconds to an accuracy lie on straight lines between evaluations. Cells hold the median over seeds, and the range.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import ours
import peers
from machine import trained
from outcome import Outcome, Point, Record, reached
from setting import RATES, Run, network

Found = list[tuple[Run, Record]]  # runs, and what they have come to
Runs = dict[str, Found]  # of one network and link, by arm, one a seed
TARGETS = (0.55, 0.60, 0.65, 0.67)
SMALL, MENDED = "small", ("fairscale_fp16", "adaptdl_fp16")  # the latter are by nobody's documentation
THEIRS = (*(arm for arm in peers.ARMS if arm not in MENDED), "ramp")  # Megatron-LM's rule, though our loop runs it
PAIRS = (("goodput_fp16", THEIRS), ("goodput", THEIRS), ("goodput_fp16", MENDED))  # ours, and whom it has to beat
ARMS: dict[str, Callable[..., Any]] = ours.ARMS | peers.ARMS
POINT = 0.01


def outcome(run: Run, record: Record) -> Outcome | None:
    """Returns the numbers of a run; None if it failed."""
    if "curve" not in record:
        return None
    curve = [
        Point(
            epoch=point["samples"] / run.samples,
            updates=point["updates"],
            samples=point["samples"],
            wall_s=point["seconds"],
            value=point["accuracy"],
        )
        for point in record["curve"]
    ]
    batches = [(at.epoch, point["batch"]) for at, point in zip(curve, record["curve"], strict=True)]
    return Outcome(
        accuracy=curve[-1].value,
        best=max(point.value for point in curve),
        updates=curve[-1].updates,
        final_batch=batches[-1][1],
        wall_s=curve[-1].wall_s,
        growths=[after / before for (_, before), (_, after) in pairwise(batches) if after != before],
        diverged=curve[-1].value <= 0.1,
        batches=batches,
        curve=curve,
        metric="accuracy",
        larger_is_better=True,
    )


def outcomes(runs: Runs, arm: str) -> list[Outcome]:
    """Returns the numbers of an arm's runs that are complete."""
    return [found for one in runs.get(arm, ()) if (found := outcome(*one)) is not None]


def middle(values: Sequence[float], digits: int = 0) -> str:
    """Returns the median of some values, and their range where they differ."""
    least, text, most = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{text} ({least} to {most})" if least != most else text


def seconds(found: Sequence[Outcome], target: float) -> list[float]:
    """Returns the seconds to an accuracy, of the runs that reach it."""
    return [point.wall_s for run in found if (point := reached(run, target)) is not None]


def targets(runs: Runs) -> list[float]:
    """Returns the accuracies that some run reaches; the last is the one that the best peer does with all its seeds."""
    best = {arm: [run.best for run in found] for arm in runs if (found := outcomes(runs, arm))}
    highest = max(map(max, best.values()), default=0.0)
    theirs = [values for arm, values in best.items() if arm in THEIRS]
    return [
        *(goal for goal in TARGETS if goal <= highest),
        *([min(max(theirs, key=statistics.median))] if theirs else []),
    ]


def table(runs: Runs) -> Iterator[str]:
    """Yields the lines of the table of one network and link."""
    wanted, most = targets(runs), max(map(len, runs.values()), default=0)
    columns = ["arm", "best, %", *(f"to {100 * target:.4g} %, s" for target in wanted)]
    columns += ["updates", "samples", "final batch", "seconds"]
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for arm in ARMS:
        if arm not in runs:
            continue
        found = outcomes(runs, arm)
        failures = [record["failure"] for _, record in runs[arm] if "failure" in record]
        reason = f"failed: {failures[0]}".replace("|", "\\|") if failures else ""
        if not found:
            yield f"| {arm} | {reason or 'not run'} |" + " |" * (len(columns) - 2)
            continue
        count = f"{len(found)} seed{'s' if len(found) > 1 else ''}" if len(found) < most else ""
        note = "; ".join(filter(None, (count, reason)))
        cells = [f"{arm} ({note})" if note else arm]
        cells.append(middle([100 * run.best for run in found], 1))
        for target in wanted:
            times = seconds(found, target)
            cells.append(middle(times) if len(times) == len(found) else f"reached by {len(times)} of {len(found)}")
        columns_of = ("updates", "samples", "final_batch", "wall_s")
        numbers = [[getattr(run if name != "samples" else run.curve[-1], name) for run in found] for name in columns_of]
        yield f"| {' | '.join([*cells, *map(middle, numbers)])} |"


def soonest(runs: Runs, arms: Sequence[str], target: float) -> tuple[str, list[float]] | None:
    """Returns the arm that reaches an accuracy soonest with all its seeds, and its seconds; None without one."""
    times = {arm: seconds(found, target) for arm in arms if (found := outcomes(runs, arm))}
    whole = {arm: of for arm, of in times.items() if len(of) == len(runs[arm])}
    return min(whole.items(), key=lambda one: statistics.median(one[1]), default=None)


def ratios(runs: Runs) -> Iterator[str]:
    """Yields how much sooner ours are than the best peer, and the best of ours than the small batch."""
    for own, others in PAIRS:
        theirs = [arm for arm in others if arm in runs]
        for target in targets(runs) if own in runs and theirs else ():
            ahead, behind = soonest(runs, (own,), target), soonest(runs, theirs, target)
            to = f"- To {100 * target:.4g} %:"
            if behind is not None and ahead is not None:
                times = statistics.median(behind[1]) / statistics.median(ahead[1])
                each = [their / its for their, its in zip(behind[1], ahead[1], strict=False)]
                yield f"{to} {own} is {times:.2f} times as fast as {behind[0]} (seed by seed {middle(each, 2)})."
            elif ahead is not None:
                yield f"{to} {own} gets there; no arm of {', '.join(theirs)} does with all seeds."
            elif behind is not None:
                yield f"{to} {behind[0]} gets there; {own} does not with all seeds."
    yield headline(runs)
    if never := [f"{100 * goal:.4g} %" for goal in TARGETS if goal not in targets(runs)]:
        yield f"- No run gets to {' or '.join(never)} in so few epochs."


def dated(runs: Runs) -> Iterator[str]:
    """Yields which arms were trained by which commits, where that differs: the machine may have another speed later."""
    together: dict[str, list[str]] = {}
    for arm in ARMS:
        if arm in runs:
            codes = sorted({record["code"].rstrip("+") for _, record in runs[arm]})
            together.setdefault(", ".join(codes), []).append(arm)
    if len(together) > 1:
        groups = "; ".join(f"{', '.join(arms)} by {codes}" for codes, arms in together.items())
        yield f"- Not all at one time, when the machine may have had another speed: {groups}."


def headline(runs: Runs) -> str:
    """Returns how much sooner the best of our arms is at the small batch's final accuracy, less one point."""
    by_seed = {arm: {run.seed: one for run, record in of if (one := outcome(run, record))} for arm, of in runs.items()}
    small, found = by_seed.get(SMALL, {}), dict[str, list[float]]()
    for arm, theirs in by_seed.items():
        if arm in (*THEIRS, *MENDED) or not small or not small.keys() <= theirs.keys():
            continue
        targets = {seed: own.accuracy - POINT for seed, own in small.items()}
        pairs = [(reached(small[seed], target), reached(theirs[seed], target)) for seed, target in targets.items()]
        times = [own.wall_s / one.wall_s for own, one in pairs if own is not None and one is not None]
        if len(times) == len(small):
            found[arm] = times
    target = "the final accuracy of the small batch less one point"
    if not found:
        return f"- To {target}: none of ours gets there with all seeds."
    arm, times = max(found.items(), key=lambda one: statistics.median(one[1]))
    return f"- To {target}: {arm} is {middle(times, 2)} times as fast as the small batch."


def arms_of(names: Collection[str]) -> Iterator[str]:
    """Yields what each arm is, from its docstring."""
    yield "| arm | what it is |"
    yield "|---|---|"
    for arm in ARMS:
        if arm in names:
            yield f"| {arm} | {(ARMS[arm].__doc__ or '').strip()} |"


def document(found: Found, flags: argparse.Namespace, factors: dict[str, float]) -> str:
    """Returns the page.

    Args:
        found: All runs, and what they have come to; empty where one is missing or was not asked for.
        flags: The flags of the command line.
        factors: Factors of the large batch's rate, by network.
    """
    pins = (Path(__file__).with_name("peers.txt")).read_text(encoding="utf-8").splitlines()
    versions = ", ".join(line.partition("#")[0].strip().replace("==", " ") for line in pins if "==" in line)
    largest = found[0][0].largest
    lines = [
        "# The race: first to an accuracy over slow links",
        "",
        f"    {command(flags)}",
        "",
        *trained([record for _, record in found if record], 4),
        f"Peers: {versions}.",
        "",
        f"CIFAR-10 at 16 x 16, {flags.samples:,} images, {flags.epochs:g} epochs of the small batch of {flags.batch};"
        f" batches up to {largest:,}.",
        "Four ranks, each in a network namespace of its own behind its link. All arms have the same network, the same",
        "order of the samples for each seed and the same augmentation. They are evaluated outside the clock, each half",
        "epoch of samples; seconds to an accuracy lie on straight lines between evaluations. Cells hold the median",
        f"over seeds {', '.join(map(str, flags.seeds))}, and the range; arms with fewer seeds say so. The last four",
        "columns are of whole runs. All sums go along a ring: Gloo's do, and Open MPI, under Horovod, is told to.",
        "",
        *arms_of({run.arm for run, record in found if record}),
        "",
        *(
            f"{name}: {sum(weight.numel() for weight in network(name, 0).parameters()):,} weights; rate"
            f" {RATES[name]:g} at the small batch, {factor:g} times that at the large one."
            for name, factor in factors.items()
        ),
    ]
    for name in flags.networks:
        for link in flags.links:
            runs: Runs = {}
            for run, record in found:
                if (run.network, run.link_mbit) == (name, link) and record:
                    runs.setdefault(run.arm, []).append((run, record))
            lines += ["", f"## {name}, {link / 1000:g} Gbit/s", "", *table(runs), "", *ratios(runs), *dated(runs)]
    return "\n".join([*lines, ""])


def command(flags: argparse.Namespace) -> str:
    """Returns the command that repeats the page, without the folders of this machine."""
    lists = {"links": flags.links, "networks": flags.networks, "seeds": flags.seeds}
    lists |= {"arms": flags.arms} if flags.arms != [*ARMS] else {}
    text = " ".join(f"--{name} {','.join(map(str, values))}" for name, values in lists.items())
    return f"python benchmarks/race --images DIR --peers PYTHON --epochs {flags.epochs:g} {text}"
