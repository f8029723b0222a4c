"""The plan printed before a run is the run's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.run.growth import growth
from hpc_adabatch.run.preview import phases, preview
from hpc_adabatch.run.run import Run
from hpc_adabatch.training.journal import read

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")
SHORT = [
    "--epochs=5",
    "--policy.interval=1.5",
    "--global_batch=64",
    "--max_global_batch=300",
    "--learning_rate.decay=poly",
]


def test_plan_and_run_agree_step_by_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, _, resolved = parse_recipe("train", [RECIPE, *SHORT])
    planned = list(phases(recipe, recipe.task.load(), 1))
    assert Run(recipe, resolved, tmp_path / "run", resume=False, cluster=SingleProcess()).train() == 0
    records = read(tmp_path / "run" / "journal.jsonl")
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert [(phase.epoch, phase.global_batch) for phase in planned] == growth(records)
    assert sum(phase.updates for phase in planned) == result["steps"]
    assert [batch for _, batch in result["batches"]] == [64, 128, 256, 300]
    rests = [(record["epoch"], record["global_batch"]) for record in records if record["kind"] == "rest"]
    assert rests == [(epoch, size) for phase in planned for epoch, sizes in phase.ends.items() for size in sizes]
    assert rests
    assert (tmp_path / "run" / "training.png").read_bytes().startswith(b"\x89PNG")
    assert "times fewer" in capsys.readouterr().out


@pytest.mark.parametrize(("kept", "shown"), [("per_step", False), ("per_epoch", True)])
def test_the_plan_shows_weight_decay_that_follows_the_batch(
    kept: str, shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    decay = ["--optimizer.weight_decay=0.003", f"--learning_rate.weight_decay={kept}"]
    recipe, _, _ = parse_recipe("plan", [RECIPE, *SHORT, *decay])
    preview(recipe, 4, measure=False)
    printed = capsys.readouterr().out
    assert ("decay" in printed) == shown
    assert "micro-batch" in printed  # 80 columns cut no heading
    assert ("0.01406" in printed) == shown  # 0.003 * 300 / 64, with the scaling none


def test_the_plan_is_printed_with_hours_when_measured(capsys: pytest.CaptureFixture[str]) -> None:
    recipe, _, _ = parse_recipe("plan", [RECIPE, *SHORT])
    preview(recipe, 4, measure=True)
    printed = capsys.readouterr().out
    assert "updates over 5 epochs of 1437 samples" in printed
    assert "by the scatter of those made here" in printed
    assert "1 x 75" in printed  # 300 over 4 ranks
