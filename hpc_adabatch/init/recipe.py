"""A recipe of recipes/ for the task, the data and the GPU; its settings and their reasons stay."""

from __future__ import annotations

import json
import re

from ..shipped import recipes

FILE = "recipe.yaml"
OF_TASKS = {"digits": "quickstart", "imagenet": "imagenet-resnet50-adabatch", "text": "text-lstm-legw"}
"""Recipes of a task, by its name."""
STARTS = {**OF_TASKS, **dict.fromkeys(("cifar10", "cifar100", "image_folder"), "cifar10-resnet20-adabatch")}
"""Recipes from which that of a task is made, by the task's name; another task of the user's own begins as digits."""
_TASK = re.compile(r"^task:\n(?:  .*\n)+", re.MULTILINE)


def recipe_for(task: str, name: str, data: str, *, bfloat16: bool) -> str:
    """Returns the text of a recipe.

    Args:
        task: The task's name; that of the recipe where it is empty.
        name: The recipe that ships and is taken as it is, where no task is given.
        data: The folder of the data; the recipe's own where it is empty.
        bfloat16: True where the nodes have it; the batch script says what they compute in instead.
    """
    start = name or STARTS.get(task, OF_TASKS["digits"])
    text = recipes()[start].read_text(encoding="utf-8").replace(f"recipes/{start}.yaml", FILE)
    if task and task not in OF_TASKS:
        text = _of_another_task(text, task, start)
    if data:
        text = _with_data(text, data.rstrip("/") or "/")
    return text if bfloat16 else re.sub(r"^precision: bfloat16\n", "", text, flags=re.MULTILINE)


def has_data(task: str, name: str) -> bool:
    """Reports whether a recipe for the task, or the recipe of this name, has a folder of data."""
    if name:
        return re.search(r"^  (?:root|train): ", recipes()[name].read_text(encoding="utf-8"), re.MULTILINE) is not None
    return task in STARTS and task != "digits"


def _of_another_task(text: str, task: str, start: str) -> str:
    """Returns the recipe with another task, and a line that says whose settings it has."""
    text = _TASK.sub(lambda _: f"task:\n  name: {task}\n", text, count=1)
    if ":" in task:  # it has a network of its own
        text = re.sub(r"^model: .*\n", "", text, flags=re.MULTILINE)
    told = f"# For {task}, from the recipe {start}, whose batch, rate and epochs it has. That one says:\n"
    return f"{told}#\n{text}"


def _with_data(text: str, folder: str) -> str:
    task = _TASK.search(text)
    assert task is not None, "a recipe without a task"
    block = task[0]
    if "  name: text\n" in block:
        values = {part: f"{folder}/{part}.txt" for part in ("train", "test")}
    else:
        values = {"root": folder}
    for name, value in values.items():
        plain = re.fullmatch(r"[\w./-]*/[\w./-]*", value)
        line = f"  {name}: {value if plain else json.dumps(value)}\n"
        block = re.sub(rf"^  {name}: .*\n", "", block, flags=re.MULTILINE) + line
    return text[: task.start()] + block + text[task.end() :]
