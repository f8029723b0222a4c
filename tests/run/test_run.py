"""A run that is killed before its first checkpoint, and started again."""

from __future__ import annotations

from pathlib import Path

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.run.result import report
from hpc_adabatch.run.run import Run
from hpc_adabatch.training.journal import read

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")


def test_a_run_killed_before_its_first_checkpoint_leaves_nothing_in_the_journal_of_the_next(tmp_path: Path) -> None:
    """Bug story: the journal held both attempts, and where a rule had changed the batch, the report was refused."""
    flags = ["--epochs=1", "--policy=schedule", "--policy.text=0:16 320sa:32 640sa:64"]
    recipe, _, resolved = parse_recipe("train", [RECIPE, *flags])
    killed = Run(recipe, resolved, tmp_path / "run", resume=True, cluster=SingleProcess())
    for step in killed.training.epoch(0):
        for inputs, targets in step:
            step.backward(recipe.task.loss(killed.forward(inputs), targets))
        step.update()
        if killed.training.steps == 30:
            break
    again = Run(recipe, resolved, tmp_path / "run", resume=True, cluster=SingleProcess())
    assert again.train() == 0
    kinds = [record["kind"] for record in read(tmp_path / "run" / "journal.jsonl")]
    assert kinds.count("start") == 1
    assert kinds.count("decision") == 2
    assert len(list(report(tmp_path / "run"))) == 4
