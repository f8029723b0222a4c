"""What a report says of a run in words: its end, its cost, its verdict in one sentence, its key numbers.

The terminal and the page say the same numbers, because both take them from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...numerals import brief
from ...terminal import count
from .account import Account, State


@dataclass(frozen=True)
class Tile:
    """A key number."""

    name: str
    """The name of what it is."""
    value: str
    """The number, with its unit."""
    beside: str = ""
    """A few words that put it in relation."""


def evaluated(run: Account) -> str:
    """Returns the last value of the metric, or why there is none."""
    value = run.result["metric"]["value"]
    if value is not None:
        return f"{value:.4f}"
    return "not finite" if run.of_kind("evaluation") else "not evaluated"


def place(run: Account) -> str:
    """Returns the ranks, what summed over them, and the seconds."""
    result = run.result
    by = f" by {result['engine']}" if result.get("engine") not in (None, "none") else ""
    return f"{result['world_size']} rank(s){by}, {result['wall_s']:.1f} s"


def instead(run: Account) -> str:
    """Returns the updates, and those of the batch that stays, for which there must be at least one update."""
    result = run.result
    steps, fixed = result["steps"], result["steps_of_fixed_batch"]
    reference = result.get("reference_batch", result["initial_global_batch"])
    saved = f"{fixed - steps} saved, {fixed / steps:.2f} times fewer"
    return f"{steps} instead of {fixed} with the batch fixed at {reference}: {saved}"


def standing(run: Account) -> str:
    """Returns how the run stands, and what to type where it can go on."""
    at = f"epoch {brief(run.records[-1]['cursor'] / run.start['samples_per_epoch'])}"
    match run.state:
        case State.COMPLETE:
            return "complete"
        case State.STOPPED if run.reason == "nodes":  # run/follow.py
            return f"left its job at {at}, to go on on {run.records[-1]['nodes']} node(s)"
        case State.STOPPED:
            return f"stopped at {at} by {run.reason}; the same command with --resume auto goes on"
        case State.DIVERGED:
            return f"diverged at {at}: {run.reason.partition(': ')[2]}"
        case State.RUNNING:
            return f"training, at {at} of {run.epochs:g} or later"
        case State.CUT_OFF:
            return f"cut off at {at}: its journal has no end; the same command with --resume auto goes on"


def growth_in_words(run: Account) -> str:
    """Returns what the batch did, as the end of a sentence: had done, where the run has not come to its end."""
    batches = [batch for _, batch in run.result["batches"]]
    stayed, grew, went = (
        ("stayed", "grew", "went") if run.state == State.COMPLETE else ("had stayed", "had grown", "had gone")
    )
    if len(batches) == 1:
        return f"{stayed} at {count(batches[0])}"
    smallest, largest, times = min(batches), max(batches), len(batches) - 1
    changes = f"in {count(times)} change{'s' if times > 1 else ''}"
    if smallest == batches[0] and largest == batches[-1]:
        return f"{grew} from {count(batches[0])} to {count(batches[-1])} {changes}"
    ends = f"{went} from {count(batches[0])} to {count(batches[-1])} {changes}"
    return f"{ends}, between {count(smallest)} and {count(largest)}"


def verdict(run: Account) -> str:
    """Returns the run in one sentence."""
    result, name = run.result, run.result["metric"]["name"]
    steps, fixed = result["steps"], result["steps_of_fixed_batch"]
    did = f"the global batch {growth_in_words(run)}"
    reached = f"test {name} {evaluated(run)}" if result["metric"]["value"] is not None else ""
    if run.state == State.COMPLETE:
        cost = f"{count(steps)} updates"
        if steps and fixed / steps >= 1.005:
            reference = count(result.get("reference_batch", result["initial_global_batch"]))
            cost += f" instead of the {count(fixed)} of a batch fixed at {reference} ({fixed / steps:.2f} times fewer)"
        end = f", and the run ended at {reached}" if reached else f"; the run ended, its {name} {evaluated(run)}"
        return f"With {cost}, {did}{end}."
    so_far = f", and {reached} was reached" if reached else ""
    stands = standing(run).partition(";")[0]
    return f"{stands[0].upper()}{stands[1:]}; by then {did}{so_far}."


def tiles(run: Account) -> list[Tile]:
    """Returns the key numbers of a run."""
    result, best = run.result, run.best
    steps, fixed, batches = result["steps"], result["steps_of_fixed_batch"], result["batches"]
    reference = result.get("reference_batch", result["initial_global_batch"])
    fewer = f"{fixed / steps:.2f} times fewer than {count(fixed)} at batch {count(reference)}" if steps else ""
    as_before = f"as at the fixed batch {count(reference)}"
    beside = f"best {best['metric']:.4f}, after epoch {count(best['epoch'] + 1)}" if best is not None else ""
    maximum = run.start.get("max_global_batch")
    grown = f"from {count(batches[0][1])}" if len(batches) > 1 else "as at the start"
    rate = result.get("samples_per_s")
    ranks = f"{result['world_size']} rank{'s' if result['world_size'] != 1 else ''}"
    return [
        Tile("updates", count(steps), fewer if fixed != steps else as_before),
        Tile(
            "time",
            in_time(result["wall_s"]),
            f"on {ranks}" + (f", {result['wall_s']:.1f} s" if result["wall_s"] >= 60 else ""),
        ),
        Tile(f"test {result['metric']['name']}", evaluated(run), beside),
        Tile("final batch", count(result["final_global_batch"]), f"{grown}; maximum {count(maximum)}"),
        Tile(
            "samples/s",
            f"{rate:,.0f}" if rate is not None else "-",
            "while training" if rate is not None else "not known yet",
        ),
    ]


def in_time(seconds: float) -> str:
    """Returns a time in the units that people use: ``1 h 03 min``, ``2 min 05 s``, ``3.2 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} days {hours % 24} h"
