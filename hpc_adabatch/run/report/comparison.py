"""Several runs beside the first of them: updates, time and accuracy saved."""

from __future__ import annotations

from collections.abc import Sequence

from ...terminal import count
from .account import Account, State
from .tables import Table
from .words import evaluated, in_time


def saved(value: float, reference: float) -> str:
    """Returns how much less a value is than the reference's, and what part of it: ``412 (2.60x)`` is 2.6 times less."""
    less = reference - value
    amount = f"{less:,.1f}".removesuffix(".0") if isinstance(less, float) else count(less)
    return f"{amount} ({reference / value:.2f}x)" if value else amount


def comparison_table(runs: Sequence[Account]) -> Table:
    """Returns a row for each run: what it cost, and what it saved beside the first.

    Args:
        runs: The runs, the first of which the others are compared to.
    """
    first = runs[0]
    name, target = first.result["metric"]["name"], first.result["metric"]["value"]
    head = ["run", "rule", "global batch", "updates", "updates saved", "seconds", "seconds saved"]
    head += [f"test {name}", f"{name} gained"]
    if target is not None:
        head += [f"as good as {target:.4f}: updates", f"as good as {target:.4f}: seconds"]
    rows = [(*_what(run), *_cost(run, first), *_quality(run, first)) for run in runs]
    note = (
        f"Saved and gained beside {first.label}, the first one given; 2x is half of its updates or seconds. Seconds "
        "compare on like machines only."
    )
    return Table(tuple(head), rows, ("run", "rule"), note)


def _what(run: Account) -> tuple[str, ...]:
    batches = run.result["batches"]
    grown = f"{batches[0][1]} to {batches[-1][1]}" if len(batches) > 1 else str(batches[0][1])
    label = run.label if run.state == State.COMPLETE else f"{run.label} ({run.state.value})"
    return label, str(run.result["policy"]), grown


def _cost(run: Account, first: Account) -> tuple[str, ...]:
    own, other = run.result, first.result
    fewer, less = (saved(own[name], other[name]) if run is not first else "" for name in ("steps", "wall_s"))
    return count(own["steps"]), fewer, f"{own['wall_s']:.1f}", less


def _quality(run: Account, first: Account) -> tuple[str, ...]:
    """Returns the cells on the metric: it, the difference, and what it cost to be as good as the first at its end."""
    own, other = run.result["metric"], first.result["metric"]
    comparable = own["name"] == other["name"] and other["value"] is not None
    gained = (
        f"{own['value'] - other['value']:+.4f}" if comparable and own["value"] is not None and run is not first else ""
    )
    if other["value"] is None:
        return evaluated(run), gained
    there = run.first_as_good_as(other["value"]) if comparable else None
    cost = (count(there["step"]), f"{there['time_s']:.1f}") if there is not None else ("never", "never")
    return evaluated(run), gained, *cost


def comparison_verdict(runs: Sequence[Account]) -> str:
    """Returns the comparison in a sentence or two: who was as good as the first run ended, and at what cost."""
    first = runs[0]
    name, target = first.result["metric"]["name"], first.result["metric"]["value"]
    if target is None:
        return f"{first.label}, to which the others are compared, has no test {name}."
    others = [run for run in runs[1:] if run.result["metric"]["name"] == name]
    reached = [(run, there) for run in others if (there := run.first_as_good_as(target)) is not None]
    own = first.first_as_good_as(target)
    if not reached or own is None:
        return f"No other run reached the test {name} at which {first.label} ended, {target:.4f}."
    goal = f"test {name} {target:.4f}, at which {first.label} ended, "
    many = f"{len(reached)} of {len(others)} other runs" if len(others) > 1 else reached[0][0].label
    (fewest, its), (soonest, other) = (min(reached, key=lambda pair: pair[1][cost]) for cost in ("step", "time_s"))
    least = f"{fewest.label} took the fewest updates, {count(its['step'])}{_against(own['step'], its['step'], 'fewer')}"
    fast = f"{in_time(other['time_s'])}{_against(own['time_s'], other['time_s'], 'less')}"
    goal += f"and which it first reached after {count(own['step'])} updates and {in_time(own['time_s'])}"
    return f"{many} reached {goal}: {least}, and {soonest.label} the least time, {fast}."


def _against(own: float, other: float, word: str) -> str:
    return f" ({own / other:.2f} times {word})" if other and own > other else ""
