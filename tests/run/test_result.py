"""Table and result are made from the journal alone, for any run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run.growth import growth
from hpc_adabatch.run.picture import write_picture
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.run.result import report, write_result
from hpc_adabatch.training.journal import read

pytestmark = pytest.mark.long

JOURNAL = Path(__file__).resolve().parents[1] / "journals" / "fixed.jsonl"
RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")


def shown(folder: Path) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        for part in report(folder):
            console.print(part)
    return capture.get()


def test_phases_shorter_than_the_journals_interval_are_shown_too(tmp_path: Path) -> None:
    """The batch changes every few steps, the learning rate takes the rest at the maximum, the last change is unused."""
    flags = [
        "--epochs=2",
        "--policy.interval=0.1",
        "--policy.factor=1.5",
        "--max_global_batch=100",
        "--journal_every=50",
    ]
    recipe, _, resolved = parse_recipe("train", [RECIPE, *flags])
    assert RecipeRun(recipe, resolved, tmp_path / "run", resume=False, cluster=SingleProcess()).train() == 0
    records = read(tmp_path / "run" / "journal.jsonl")
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert [batch for _, batch in growth(records)] == [16, 24, 36, 54, 81, 100]
    assert result["batches"] == [[round(epoch, 6), batch] for epoch, batch in growth(records)]
    table = shown(tmp_path / "run")
    updates = [int(line.split("│")[5]) for line in table.splitlines() if " to " in line and "│" in line]
    assert sum(updates) == result["steps"]
    assert " to " in table.splitlines()[8].split("│")[4], "the learning rate still falls at the maximum"
    write_picture(tmp_path / "again.png", records)
    assert (tmp_path / "again.png").stat().st_size > 10_000


def test_a_metric_that_is_not_finite_is_null_and_shown_as_what_it_is(tmp_path: Path) -> None:
    recipe, _, resolved = parse_recipe("train", [RECIPE, "--epochs=1"])
    assert RecipeRun(recipe, resolved, tmp_path / "run", resume=False, cluster=SingleProcess()).train() == 0
    records = read(tmp_path / "run" / "journal.jsonl")
    records[-1]["metric"] = None  # as the journal has it of a perplexity that overflowed
    result = tmp_path / "run" / "result.json"
    write_result(result, records, wall_s=1.0, samples_per_s=1.0)
    assert json.loads(result.read_text(encoding="utf-8"))["metric"] == {"name": "accuracy", "value": None}
    assert "test accuracy  not finite after 1 epochs" in shown(tmp_path / "run")


@pytest.mark.parametrize(
    ("engines", "expected", "shown_as"),
    [
        (["horovod"], "horovod", "on 1 rank(s) by horovod, 1.0 s"),
        (["horovod", "torch"], "torch", "on 1 rank(s) by torch, 1.0 s"),  # the part that ended it
        (["none"], "none", "on 1 rank(s), 1.0 s"),
        ([None], None, "on 1 rank(s), 1.0 s"),  # a journal of before it was told
    ],
)
def test_the_engine_of_the_last_part_stands_in_the_result(
    engines: list[str | None], expected: str | None, shown_as: str, tmp_path: Path
) -> None:
    first, *rest = read(JOURNAL)
    told = [{"engine": name} if name else {} for name in engines]
    resumed = [first | {"kind": "resume"} | more for more in told[1:]]
    records = [{k: v for k, v in first.items() if k != "engine"} | told[0], *rest[:-1], *resumed, rest[-1]]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "journal.jsonl").write_text(lines, encoding="utf-8")
    write_result(tmp_path / "result.json", records, wall_s=1.0, samples_per_s=1.0)
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["engine"] == expected
    assert shown_as in shown(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder of a run, with journal\.jsonl in it"):
        shown(tmp_path)
    (tmp_path / "journal.jsonl").write_bytes(JOURNAL.read_bytes().partition(b"\n")[2])
    with pytest.raises(InputError, match="whose journal has no start"):
        shown(tmp_path)


def test_a_run_that_is_not_complete_is_shown_as_far_as_it_came(tmp_path: Path) -> None:
    """It was refused: who looked at a run that had failed or was training was told of a missing file."""
    lines = JOURNAL.read_bytes().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[:6]) + lines[6][:20])
    table = shown(tmp_path)
    assert "state          cut off at epoch" in table
    assert "the same command with --resume auto goes on" in table
    assert f"updates        {json.loads(lines[5])['step']} instead of" in table
