"""The recipe of a task is one that ships, with the task's own fields; each can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_adabatch import shipped
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.init.recipe import OF_TASKS, STARTS, has_data, recipe_for
from hpc_adabatch.recipe import Recipe

FOLDER = "/my data/#1: 'a' \\n"


def parsed(text: str, folder: Path) -> Recipe:
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return parse_recipe("train", [str(folder / "recipe.yaml")])[0]


@pytest.mark.parametrize("folder", ["/data", FOLDER, "123", "null"])
@pytest.mark.parametrize("task", [task for task in STARTS if task != "digits"])
def test_a_task_reads_its_data_where_it_was_said(task: str, folder: str, tmp_path: Path) -> None:
    recipe = parsed(recipe_for(task, "", folder, bfloat16=True), tmp_path)
    assert recipe.chosen["task"] == task
    fields = vars(recipe.task)
    if task == "text":
        assert (fields["train"], fields["test"]) == (f"{folder}/train.txt", f"{folder}/test.txt")
    else:
        assert fields["root"] == folder
    assert has_data(task, "")


def test_digits_and_a_task_of_ones_own_have_no_folder() -> None:
    assert not has_data("digits", "")
    assert not has_data("mine:Task", "")
    text = recipe_for("mine:Task", "", "", bfloat16=True)
    assert "task:\n  name: mine:Task\nglobal_batch:" in text
    assert text.startswith("# For mine:Task, from the recipe quickstart, whose batch, rate and epochs it has.")


@pytest.mark.parametrize("bfloat16", [True, False])
@pytest.mark.parametrize("name", shipped.recipes())
def test_a_recipe_that_ships_stays_as_it_is_but_for_a_precision_that_the_gpu_lacks(
    name: str, bfloat16: bool, tmp_path: Path
) -> None:
    text = recipe_for("", name, "", bfloat16=bfloat16)
    assert f"recipes/{name}.yaml" not in text
    found, own = parsed(text, tmp_path), parse_recipe("train", [name])[0]
    assert (found.task, found.optimizer, found.schedule) == (own.task, own.optimizer, own.schedule)
    assert found.options.precision == (own.options.precision if bfloat16 else "float32")
    if has_data("", name):
        assert "/elsewhere" in recipe_for("", name, "/elsewhere", bfloat16=bfloat16)


def test_an_image_folder_of_ones_own_has_not_cifars_size_and_colours(tmp_path: Path) -> None:
    recipe = parsed(recipe_for("image_folder", "", "/photos", bfloat16=True), tmp_path)
    assert vars(recipe.task)["image_size"] is None
    assert vars(recipe.task)["mean"] == (0.485, 0.456, 0.406)


def test_every_start_ships() -> None:
    assert set(STARTS.values()) <= set(shipped.recipes())
    assert OF_TASKS.items() <= STARTS.items()
