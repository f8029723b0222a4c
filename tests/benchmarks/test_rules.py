"""The table of all rules: its numbers from hand-made runs, what is kept and what is run again, its flags."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other by name

from cells import Cell, last_line, write  # noqa: E402
from images import IMAGES, few_images  # noqa: E402
from outcome import Point, outcome, reached, spread, summary, to_target, turns  # noqa: E402
from rules import FACTORS, RECIPES, TUNED, missing, rows, tuned  # noqa: E402
from table import Row, table_lines  # noqa: E402

pytestmark = pytest.mark.long


def result(batches: list[tuple[float, int]], accuracy: float = 0.9, steps: int = 100) -> dict[str, Any]:
    return {
        "epochs": 4,
        "steps": steps,
        "wall_s": 10.0,
        "final_global_batch": batches[-1][1],
        "metric": {"name": "accuracy", "value": accuracy},
        "batches": [list(entry) for entry in batches],
    }


def evaluations(*losses: float | None, metrics: tuple[float, ...] = (0.95, 0.9)) -> list[dict[str, Any]]:
    lines = [
        {"kind": "evaluation", "loss": loss, "metric": m, "cursor": n * 10, "step": n * 5, "time_s": n * 0.5}
        for n, (loss, m) in enumerate(zip(losses, metrics, strict=True), 1)
    ]
    return [{"kind": "start", "samples_per_epoch": 10}, *lines, {"kind": "end"}]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """make(name, seed, result or None, exit code, last line): a cell that has been run."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("epochs: 4\n", encoding="utf-8")

    def cell(name: str, seed: int, content: dict[str, Any] | None, exit_code: int | None = 0, last: str = "") -> Cell:
        made = Cell(name=name, seed=seed, flags=("--a", "1"), recipe=recipe, ranks=2, folder=tmp_path / "cells")
        made.run.mkdir(parents=True)
        end = {"exit_code": exit_code, "last_line": last, "load": 1.0}
        write(made.note, {"asked": made.asked(), "code": "abc", "began": "now"} | end)
        (made.run / "journal.jsonl").write_text("\n".join(map(json.dumps, evaluations(0.1, 0.2))), encoding="utf-8")
        if content is not None:
            (made.run / "result.json").write_text(json.dumps(content), encoding="utf-8")
        return made

    return cell


def test_a_run_as_numbers() -> None:
    found = outcome(result([(0, 16), (1, 32), (2.5, 24), (3, 96)]), evaluations(0.1, 0.2))
    assert (found.accuracy, found.best, found.updates, found.final_batch) == (0.9, 0.95, 100, 96)
    assert found.growths == [2.0, 0.75, 4.0]
    assert found.batches[-1] == (4.0, 96)
    assert not found.diverged
    shown = summary([found, outcome(result([(0, 16)], 0.8, 300), evaluations(0.1, 0.2))], fixed_updates=400)
    assert shown["accuracy"] == "0.8500 ± 0.0707"
    assert (shown["updates"], shown["times fewer"], shown["final batch"]) == ("200", "2.00", "56")
    assert (shown["largest growth"], shown["turns"], shown["diverged"]) == ("x4.00", "1.0", "0 of 2")


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [((0.1, 0.2), False), ((None, 0.2), True), ((0.1, math.log(10) + 0.01), True), ((9.0, 2.3), False)],
)
def test_diverged_is_a_loss_that_is_not_finite_or_in_the_end_above_guessing(losses: Any, diverged: bool) -> None:
    assert outcome(result([(0, 16)]), evaluations(*losses)).diverged is diverged


@pytest.mark.parametrize(
    ("growths", "expected"), [([], 0), ([2.0], 0), ([2.0, 2.0], 0), ([2.0, 0.5], 1), ([1.1, 0.9, 0.9, 1.1, 0.9], 3)]
)
def test_turns_count_changes_of_direction(growths: list[float], expected: int) -> None:
    assert turns(growths) == expected


def test_a_spread_needs_two() -> None:
    assert spread([0.5], 2) == "0.50"
    assert spread([1.0, 3.0], 1) == "2.0 ± 1.4"


def test_every_row_is_shown_with_its_numbers_or_its_reason(make: Any) -> None:
    small = [make("small", seed, result([(0, 16)], steps=400)) for seed in (0, 1)]
    half = [make("half", 0, result([(0, 16), (1, 32)])), make("half", 1, None, 1, "adabatch: a | b")]
    table = [
        Row("small", small),
        Row("half", half),
        Row("broken", [make("broken", 0, None, 2, "adabatch: error: no")]),
        Row("later", [make("later", 0, None, None)]),
        Row("future", [], missing="not there"),
    ]
    heading, _, *lines = table_lines(table)
    assert all(line.replace("\\|", "").count("|") == heading.count("|") for line in lines)
    assert lines[0].startswith("| small | 0.9000 ± 0.0000 | 0.9500 | 400 | 1.00 | 16 |")
    assert "0.9000 (1 of 2 seeds; others: failed: exit code 1: adabatch: a \\| b)" in lines[1]
    assert "| 100 | 4.00 | 32 |" in lines[1]
    for line, reason in zip(
        lines[2:], ("failed: exit code 2: adabatch: error: no", "not run", "not there"), strict=True
    ):
        assert f"| {reason} |" in line


def test_a_cell_is_kept_while_the_same_is_asked_for(make: Any) -> None:
    cell = make("rule", 0, result([(0, 16)]))
    assert cell.result() is not None
    assert cell.with_seed(1).result() is None
    cell.recipe.write_text("# says nothing else\nepochs: 4\n", encoding="utf-8")
    assert cell.result() is not None
    cell.recipe.write_text("epochs: 5\n", encoding="utf-8")
    assert cell.result() is None
    assert cell.failure() is None


@pytest.mark.parametrize("code", [None, 75, 130])
def test_a_run_that_was_stopped_has_not_failed(make: Any, code: int | None) -> None:
    assert make("rule", 0, None, code).failure() is None


def test_the_last_line_is_the_one_that_tells_why() -> None:
    text = (
        "adabatch: rank 0: Traceback\nadabatch: rank 0: ValueError: no /some/where/file.py\n"
        "adabatch: rank 1 ends because another rank did\n-------\nmpirun detected that one\n-------\n"
    )
    assert last_line(text) == "adabatch: rank 0: ValueError: no file.py"
    assert last_line("Killed 1/2\n-----\n") == "Killed 1/2"
    assert last_line("") == "nothing on stderr"


@pytest.mark.parametrize("task", RECIPES)
def test_rows_fit_the_command_line(task: str, tmp_path: Path) -> None:
    path = tmp_path / f"{task}.yaml"
    path.write_text(yaml.safe_dump(RECIPES[task]), encoding="utf-8")
    wrong = {name: missing(path, flags) for name, flags in rows(RECIPES[task]).items()}
    assert set(wrong.values()) <= {None, "not there"}
    assert wrong["fixed_small"] is wrong["smith"] is wrong["noise_scale"] is None
    assert [missing(path, tuned(RECIPES[task], factor)) for factor in FACTORS] == [None] * len(FACTORS)
    assert rows(RECIPES[task])[TUNED] == ()
    assert missing(path, ("--policy", "no_such_rule")) == "not there"


def test_the_first_images_of_each_class(tmp_path: Path) -> None:
    for part, count in (("train", IMAGES["train"] + 3), ("test", 3)):
        for name in ("cat", "dog"):
            (tmp_path / "all" / part / name).mkdir(parents=True)
            for number in range(count):
                (tmp_path / "all" / part / name / f"{number:04}.jpg").touch()
    few_images(tmp_path / "all", tmp_path / "few")
    found = {part: sorted((tmp_path / "few" / part / "dog").iterdir()) for part in ("train", "test")}
    assert [path.name for path in found["train"]] == [f"{number:04}.jpg" for number in range(IMAGES["train"])]
    assert len(found["test"]) == 3
    assert all(path.exists() for path in found["train"])


def test_the_way_to_a_target_is_read_between_evaluations() -> None:
    run = outcome(result([(0, 16)]), evaluations(0.3, 0.2, metrics=(0.5, 0.9)))
    assert reached(run, 0.7) == Point(epoch=1.5, updates=8, samples=15, wall_s=0.75, value=0.7)
    assert reached(run, 0.9).wall_s == 1.0  # type: ignore[union-attr]
    assert reached(run, 0.5).epoch == 1.0  # type: ignore[union-attr]
    assert reached(run, 0.91) is None
    assert to_target([run, run], 0.7)["s to target"] == "0.8 ± 0.0"
    assert to_target([run], 0.95) == {"s to target": "reached by 0 of 1"}
