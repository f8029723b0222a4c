"""Whether a checkpoint is one of the run that goes on from it.

A run that goes on with the same recipe on as many ranks equals one that was never stopped, bit by bit. A field of the
recipe that differs

    leaves the steps as they are    may: FREE
    changes them a little           may, and is said: LITTLE
    stretches the schedule          may, and is said with both rates: epochs
    changes the run                 may not: all others
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError, require
from ..records import fits
from ..training import AdaptiveTraining, settings

FREE = (
    *settings.FREE,
    *("epochs", "workers", "evaluation_batch", "engine", "task.root", "task.file", "task.train", "task.test"),
    *("task.download", "task.memory_gb"),
)
"""The fields that may differ between a checkpoint and the run that goes on from it: the same data may lie elsewhere."""

LITTLE = {
    **settings.ROUNDING,
    "channels_last": "another memory layout is rounded otherwise",
    "task.leave_out": "other images stand in for those left out",
}
"""The fields that may differ, at the price of bits, and why."""


def check_same(saved: str, now: str) -> None:
    """Sees that a checkpoint belongs to this recipe.

    Args:
        saved: The resolved recipe of the checkpoint, as YAML; of this release or an earlier one.
        now: The resolved recipe of this run, as YAML.

    Raises:
        InputError: A field differs that must not; the first one is named.
    """
    for field, (before, after) in differences(saved, now).items():
        if field not in FREE and field not in LITTLE:
            given, word = ("null" if value is None else value for value in (after, before))
            raise InputError(field, given, f"{word}, as in the run that is resumed", f"--{field} {word}")


def check_numbers(state: dict[str, Any]) -> None:
    """Sees that the numbers of a checkpoint are numbers.

    Raises:
        TypeError: A value is of another type than in the state of a run, though the file is whole.
    """
    numbers = {"metric": float | None, "training_s": float, "elapsed_s": float, "journal_bytes": int}
    strange = [name for name, kind in numbers.items() if not fits(state.get(name, 0), kind)]
    if strange:
        raise TypeError(f"another type of {', '.join(strange)}")


def check_epochs(state: dict[str, Any], planned: float, epochs: float) -> None:
    """Sees that the epochs are not behind already.

    Args:
        state: The state of the checkpoint.
        planned: The epochs that the run was to have then.
        epochs: The epochs that it is to have now.

    Raises:
        InputError: More epochs are done.
    """
    # the last step on AdaScale's clock may go beyond its end
    done = state["training"]["course"]["clock"] / state["training"]["plan"]["n_samples"]
    allowed = f"{math.ceil(done)} or more, as {done:.4g} are done"
    require(epochs >= min(done, planned), "epochs", epochs, allowed, f"--epochs {planned:g}")


def planned(saved: str) -> float:
    """Returns the epochs of a checkpoint's recipe.

    Args:
        saved: The resolved recipe, as YAML.
    """
    return float(_fields(saved)["epochs"])


def check_nothing_lost(journal: Path) -> None:
    """Sees that a run without a checkpoint has never had one.

    A run that is killed between its first evaluation and the end of its first checkpoint has none. One that went on
    after an evaluation had written one.

    Args:
        journal: The run's journal.

    Raises:
        InputError: The journal goes on after an evaluation.
    """
    went_on = journal.exists() and re.search(rb'"kind": "evaluation"[^\n]*\n[^\n]*\n', journal.read_bytes())
    given = f"{journal.parent}, whose checkpoint/ is missing and whose journal tells of one"
    hint = f"--out DIR, to start anew, or first: rm {journal}"
    require(not went_on, "resume", given, "a run with its checkpoint", hint)


def failures(records: list[dict[str, Any]]) -> int:
    """Returns how often a run that is being resumed has ended without having been asked to, this time included.

    Args:
        records: Its journal, up to the checkpoint.
    """
    kinds = [record["kind"] for record in records] + ["resume"]
    return sum(before != "end" for before, kind in itertools.pairwise(kinds) if kind == "resume")


def tell_changes(saved: str, now: str, training: AdaptiveTraining) -> Iterator[str]:
    """Yields a line for each field that makes the run another one from here on than it would have been.

    Args:
        saved: The resolved recipe of the checkpoint, as YAML.
        now: The resolved recipe of this run, as YAML.
        training: The loop, with the state of the checkpoint.
    """
    changed, rule = differences(saved, now), yaml.safe_load(now)["learning_rate"]
    for field, why in LITTLE.items():
        if field in changed:
            before, after = changed[field]
            yield f"{field} {after} instead of {before}: {why}, so the run is no longer the same bit by bit"
    decay = rule["decay"]
    if "epochs" in changed and "epochs" not in rule and decay in ("poly", "cosine"):
        before, after = changed["epochs"]
        last, following = training.last_rate, training.holding()["learning_rate"]
        yield (
            f"epochs {after} instead of {before}: decay {decay} ends there, and the learning rate goes from {last:.4g}"
            f" to {following:.4g}; --learning_rate.epochs {before} keeps the decay as it was"
        )


def differences(saved: str, now: str) -> dict[str, tuple[Any, Any]]:
    """Returns the fields that mean something else, with what they meant and mean; the names of classes first.

    Args:
        saved: The resolved recipe of the checkpoint, as YAML; of this release or an earlier one.
        now: The resolved recipe of this run, as YAML.
    """
    then, after = (_flatten(_fields(text)) for text in (saved, now))
    from ..command_line import CHOICES, defaults  # jsonargparse loads with it

    names = [f"{field}.name" for field in CHOICES]
    found = {name: (then.get(name), after[name]) for name in names if then.get(name) != after[name]}
    if found:  # other classes have other fields
        return found
    # a recipe leaves out what is null, and one of an earlier release also what there was not yet: both mean the default
    known = defaults({field: after[f"{field}.name"] for field in CHOICES})
    then, after = known | then, known | after
    before_ends, ends = then["learning_rate.epochs"], after["learning_rate.epochs"]
    if before_ends is not None or ends is not None:  # else the schedule goes by epochs, before and after
        then["learning_rate.epochs"] = before_ends or then["epochs"]
        after["learning_rate.epochs"] = ends or after["epochs"]
    for recipe in (then, after):
        recipe["max_micro_batch"] = recipe["max_micro_batch"] or recipe["global_batch"]
    fields = sorted(then.keys() | after.keys())
    return {field: (then.get(field), after.get(field)) for field in fields if then.get(field) != after.get(field)}


def _fields(recipe: str) -> dict[str, Any]:
    """Returns the fields of a recipe as YAML.

    Raises:
        ValueError: The text is no YAML.
    """
    try:
        return yaml.safe_load(recipe)
    except yaml.YAMLError as error:
        raise ValueError(f"no YAML: {error}") from error


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
