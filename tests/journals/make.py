"""Writes RULE.jsonl beside this file: a journal for each rule, by a real run on digits, for the readers of journals.

    python tests/journals/make.py [RULE ...]        a minute for all; again whenever what a run writes has changed

Every step has its ``statistics`` line, so that a journal says by itself how many samples each step took: that is what
tests hold its readers to (tests/test_journals.py). 1437 samples leave a short rest of most batches.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.run.recipe_run import RecipeRun

HERE = Path(__file__).resolve().parent
RECIPE = str(HERE.parents[1] / "recipes" / "quickstart.yaml")
COMMON = ["--epochs=3", "--max_global_batch=600", "--journal_every=1", "--measure_every=3"]
SOON = ["--global_batch=200", "--policy.dwell=1", "--policy.window=400"]  # rules that measure, in a hurry
RULES: dict[str, list[str]] = {
    "adabatch": ["--global_batch=100", "--policy.interval=0.7", "--policy.lr_factor=0.75"],
    "big_batch": ["--global_batch=100", "--policy.theta=0.3"],
    "cabs": [*SOON, "--policy.constant=1000"],
    "fixed": ["--global_batch=500"],
    "goodput": [*SOON, "--min_global_batch=100"],
    "inner_product": [*SOON, "--policy.theta=0.2"],
    "noise_scale": [*SOON, "--policy.fraction=3"],
    "norm_test": SOON,
    "plateau": ["--global_batch=100", "--policy.patience=1", "--policy.threshold=0.9"],
    "schedule": ["--global_batch=100", "--policy.text=0:100 0.5ep:250 2ep:150"],
    "seesaw": ["--global_batch=100", "--policy.milestones=[1,1.5,2]"],
    "simigrad": [*SOON, "--policy.similarity=0.8"],
    "smith": ["--global_batch=100", "--policy.milestones=[0.5,2]"],
}


def flags(rule: str) -> list[str]:
    """The command line of a rule's run, without its verb."""
    return [RECIPE, "--policy", rule, *COMMON, *RULES[rule]]


def make(rule: str, folder: Path) -> Path:
    """Trains by a rule, stops after two epochs and goes on. Returns the journal."""
    for resume, epochs in ((False, 2), (True, 3)):
        recipe, _, resolved = parse_recipe("train", [*flags(rule), f"--epochs={epochs}"])
        RecipeRun(recipe, resolved, folder, resume=resume, cluster=SingleProcess()).train()
    return folder / "journal.jsonl"


if __name__ == "__main__":
    for name in sys.argv[1:] or RULES:
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copy(make(name, Path(scratch) / name), HERE / f"{name}.jsonl")
