"""Checkpoints inside an epoch: written beside training, on request, and exact to go on from."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest
import torch

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.run import restart
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.run.request import ask
from hpc_adabatch.run.saver import copied
from hpc_adabatch.training import checkpoint
from hpc_adabatch.training.journal import read

pytestmark = pytest.mark.long

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")
FLAGS = ["--epochs=2", "--model=narrow_cnn", "--journal_every=1", "--policy=schedule", "--policy.text=0:16 700sa:32"]


def run(folder: Path, *flags: str) -> RecipeRun:
    recipe, _, resolved = parse_recipe("train", [RECIPE, *FLAGS, *flags])
    return RecipeRun(recipe, resolved, folder, resume=True, cluster=SingleProcess())


def test_a_run_goes_on_from_any_checkpoint_inside_an_epoch_as_if_it_had_never_ended(tmp_path: Path) -> None:
    """Each checkpoint that a run has written, with the journal as it was then, is gone on from."""
    first = run(tmp_path / "whole", "--checkpoint_steps=29")
    kept: list[Path] = []
    write = first.life._saver._write

    def write_and_keep(state: dict[str, object]) -> None:
        write(state)
        folder = tmp_path / f"kept-{len(kept)}"
        shutil.copytree(tmp_path / "whole", folder, ignore=shutil.ignore_patterns("owner.json"))
        kept.append(folder)

    first.life._saver._write = write_and_keep  # type: ignore[method-assign]
    assert first.train() == 0
    assert len(kept) > 4
    expected = torch.load(tmp_path / "whole" / "checkpoint" / "last.pt", weights_only=True)
    steps = set()
    for folder in kept[:2]:
        steps.add(torch.load(folder / "checkpoint" / "last.pt", weights_only=True)["training"]["steps"])
        again = run(folder)
        assert again.train() == 0
        found = torch.load(folder / "checkpoint" / "last.pt", weights_only=True)
        for name, weights in expected["training"]["model"].items():
            assert torch.equal(found["training"]["model"][name], weights)
        journals = [
            [
                {name: value for name, value in record.items() if name not in ("time_s", "samples_per_s")}
                for record in read(path / "journal.jsonl")
                if record["kind"] not in ("resume", "start")
            ]
            for path in (folder, tmp_path / "whole")
        ]
        assert journals[0] == journals[1]
    assert {29, 58} <= steps


def test_a_checkpoint_is_asked_for_from_outside_and_waited_for(tmp_path: Path) -> None:
    running = run(tmp_path / "run", "--epochs=400")
    told: list[str] = []

    def ask_twice() -> None:
        time.sleep(0.3)
        told.extend(ask(tmp_path / "run") for _ in range(2))
        running.stop_flag._heard.add("SIGTERM")

    asking = threading.Thread(target=ask_twice)
    asking.start()
    assert running.train() == 75
    asking.join()
    assert told == [f"{tmp_path}/run/checkpoint/last.pt: written"] * 2
    assert not running.folder.request.exists()
    with pytest.raises(InputError, match=r"^RUN: given .*run, in which no run trains; allowed"):
        ask(tmp_path / "run")
    with pytest.raises(InputError, match=r"^RUN: given .*nothing, in which no run trains; allowed"):
        ask(tmp_path / "nothing")


def test_the_copy_that_is_written_does_not_change_with_training() -> None:
    weights = torch.ones(3)
    state = {"model": {"w": weights}, "pair": (weights, [weights, 2]), "n": 1}
    copy = copied(state)
    weights.zero_()
    assert copy["model"]["w"].tolist() == [1, 1, 1]
    assert copy["pair"][0].tolist() == copy["pair"][1][0].tolist() == [1, 1, 1]
    assert (copy["pair"][1][1], copy["n"]) == (2, 1)


def test_failures_are_the_times_that_nobody_asked_for_the_end() -> None:
    kinds = ["start", "statistics", "end", "resume", "statistics", "resume", "evaluation"]
    assert restart.failures([{"kind": kind} for kind in kinds]) == 2
    assert restart.failures([{"kind": kind} for kind in (*kinds, "end")]) == 1


def test_a_fault_of_the_writing_thread_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(checkpoint, "save", fault)
    with pytest.raises(ZeroDivisionError, match="a fault"):
        run(tmp_path / "run").train()
