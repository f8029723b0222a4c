"""A script's run: what `adabatch train` does for a recipe, around a loop of the user's own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import hpc_adabatch as hab
from hpc_adabatch import commands
from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.training import signals
from hpc_adabatch.training.journal import read

pytestmark = pytest.mark.long

DRAW = torch.Generator().manual_seed(0)
POINTS = torch.randn(150, 4, generator=DRAW)
LABELS = (POINTS[:, 0] > POINTS[:, 1]).long()
TRAIN, TEST = TensorDataset(POINTS[:120], LABELS[:120]), TensorDataset(POINTS[120:], LABELS[120:])


def script(
    folder: Path,
    *,
    epochs: int = 4,
    at_step: Callable[[hab.AdaptiveTraining], object] = lambda _: None,
    until: float = 2.0,
    metric: str = "accuracy",
    evaluates: bool = True,
    **given: Any,
) -> hab.AdaptiveTraining:
    """A user's script, which calls ``at_step`` after each step and leaves its loop at an accuracy."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
    training = hab.AdaptiveTraining(
        model,
        torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        hab.AdaptiveBatches(TRAIN, 8, max_global_batch=32),
        cluster=SingleProcess(),
        policy=hab.AdaBatch(interval=1),
        options=hab.LoopOptions(journal_every=1),
        **given,
    )

    def score(inputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = model(inputs)
        losses = nn.functional.cross_entropy(outputs, targets, reduction="none")
        return {"loss": losses, "accuracy": outputs.argmax(1) == targets}

    with hab.Run(folder, training, epochs=epochs, metric=metric) as run:
        for epoch in run.epochs():
            for step in run.epoch(epoch):
                for inputs, targets in step:
                    step.backward(nn.functional.cross_entropy(model(inputs), targets))
                step.update()
                at_step(training)
            if evaluates:
                run.evaluate(score, TEST)
                assert run.metric is not None
                if run.metric >= until:
                    break
    return training


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    script(folder)
    return folder


def state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "checkpoint" / "last.pt", weights_only=True)
    return found


KEPT = ("kind", "step", "cursor", "loss", "learning_rate", "global_batch", "metric", "scores")


def told(folder: Path) -> list[dict[str, Any]]:
    """What the journal says of steps and evaluations."""
    records = [record for record in read(folder / "journal.jsonl") if record["kind"] in ("statistics", "evaluation")]
    return [{name: record.get(name) for name in KEPT} for record in records]


def assert_same(found: Path, reference: Path) -> None:
    """Bitwise equal weights and statistics; every step once."""
    a, b = (state(folder)["training"]["model"] for folder in (found, reference))
    assert all(torch.equal(a[name], b[name]) for name in b)
    assert told(found) == told(reference)


@pytest.fixture(autouse=True)
def no_picture(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is enough."""
    assert (undisturbed / "training.png").exists()
    monkeypatch.setattr("hpc_adabatch.run.life.write_picture", lambda *_: None)


def test_a_script_leaves_what_a_recipe_leaves(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = json.loads((undisturbed / "result.json").read_text(encoding="utf-8"))
    assert (result["name"], result["policy"], result["optimizer"]) == ("undisturbed", "AdaBatch", "SGD")
    assert (result["epochs"], result["samples_seen"], result["steps"]) == (4, 480, 15 + 7 + 4 + 4)
    assert [batch for _, batch in result["batches"]] == [8, 16, 32]
    records = read(undisturbed / "journal.jsonl")
    scores = [record for record in records if record["kind"] == "evaluation"]
    assert [record["scores"].keys() for record in scores] == [{"loss", "accuracy"}] * 4
    assert result["metric"] == {"name": "accuracy", "value": scores[-1]["scores"]["accuracy"]}
    assert (records[0]["kind"], records[-1]["reason"]) == ("start", "complete")
    assert (undisturbed / "training.png").read_bytes().startswith(b"\x89PNG")
    assert commands.report([str(undisturbed)]) == 0
    said = capsys.readouterr().out
    assert "test accuracy" in said
    assert "30 instead of 60 with the batch fixed at 8" in said
    documented = (Path(__file__).parents[2] / "docs" / "run-folder.md").read_text(encoding="utf-8")
    assert [name for record in records for name in record if f"`{name}`" not in documented] == []


def test_the_same_command_leaves_a_complete_run_alone_and_prolongs_it(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script(tmp_path / "run", epochs=2)
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert script(tmp_path / "run", epochs=2).steps == 15 + 7
    assert "holds this run, complete" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    script(tmp_path / "run", epochs=4)
    assert_same(tmp_path / "run", undisturbed)


@pytest.mark.parametrize(("how", "code"), [("SIGTERM", 75), ("SIGINT", 130), ("stop file", 75)])
@pytest.mark.parametrize("step", [9, 15])
def test_a_script_that_is_told_to_stop_ends_with_a_code_and_goes_on_exactly(
    how: str,
    code: int,
    step: int,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(signals, "LOOK_EVERY_S", 0.0)
    monkeypatch.setenv("ADABATCH_STOP_FILE", str(tmp_path / "stop"))

    def tell(training: hab.AdaptiveTraining) -> None:
        if training.steps == step - 1:
            if how == "stop file":
                (tmp_path / "stop").touch()
            else:
                os.kill(os.getpid(), signal.Signals[how])

    with pytest.raises(SystemExit) as ended:
        script(tmp_path / "run", at_step=tell)
    assert ended.value.code == code
    assert f"{how}: left after update {step}; to go on: the same command again" in capsys.readouterr().out
    end = read(tmp_path / "run" / "journal.jsonl")[-1]
    assert (end["kind"], end["reason"], end["step"]) == ("end", how, step)
    assert not (tmp_path / "run" / "result.json").exists()
    assert not (tmp_path / "run" / "owner.json").exists()
    assert (tmp_path / "stop.code").read_text(encoding="ascii") == str(code)  # for launch/run
    for path in tmp_path.glob("stop*"):
        path.unlink()
    script(tmp_path / "run")
    assert_same(tmp_path / "run", undisturbed)


def test_a_script_may_leave_its_loop_and_is_complete_then(tmp_path: Path) -> None:
    done = script(tmp_path / "run", epochs=50, until=0.6)
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["epochs"] < 50
    assert result["metric"]["value"] >= 0.6
    assert script(tmp_path / "run", epochs=50, until=0.6).steps == done.steps
    assert script(tmp_path / "run", epochs=51, until=0.6).steps > done.steps


def test_a_checkpoint_inside_an_epoch_is_gone_on_from(undisturbed: Path, tmp_path: Path) -> None:
    """As after a kill: what came after it is done again, and no step stands twice in the journal."""

    class Killed(BaseException):
        pass

    def kill(training: hab.AdaptiveTraining) -> None:
        training.checkpoints.due = training.steps == 9
        if training.steps == 12:
            raise Killed

    with pytest.raises(Killed):
        script(tmp_path / "run", at_step=kill)
    assert state(tmp_path / "run")["training"]["steps"] == 9
    script(tmp_path / "run")
    assert_same(tmp_path / "run", undisturbed)


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "another rate": (
        {"learning_rate": hab.LearningRate("linear")},
        "learning_rate.scaling: given 'linear'; allowed: 'none', as in the run that is resumed",
    ),
    "fewer epochs": ({"epochs": 1}, "epochs: given 1; allowed: 4 or more, as 4 are done"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_makes_another_run_is_refused_with_a_line(
    case: str, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, line = CASES[case]
    before = (undisturbed / "journal.jsonl").read_bytes()
    with pytest.raises(SystemExit) as ended:
        script(undisturbed, **given)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"adabatch: error: {line}")
    assert (undisturbed / "journal.jsonl").read_bytes() == before
    assert not (undisturbed / "owner.json").exists()


def test_what_is_no_new_training_and_no_number_of_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script(tmp_path / "run", epochs=0)
    assert "epochs: given 0; allowed: more than 0" in capsys.readouterr().err
    trained = script(tmp_path / "run", epochs=1)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        hab.Run(tmp_path / "other", trained, epochs=2)
    assert "training: given one after 15 steps; allowed: a new one" in capsys.readouterr().err
    with pytest.raises(hab.InputError, match=r"^training: given Linear; allowed: an AdaptiveTraining"):
        hab.Run(tmp_path / "other", nn.Linear(1, 1), epochs=2)  # type: ignore[arg-type]
    assert not (tmp_path / "other").exists()


def test_a_run_without_its_block_is_refused(tmp_path: Path) -> None:
    """It would neither hear a signal nor end."""
    model = nn.Linear(4, 2)
    optimizer, batches = torch.optim.SGD(model.parameters(), lr=0.1), hab.AdaptiveBatches(TRAIN, 8)
    training = hab.AdaptiveTraining(model, optimizer, batches, cluster=SingleProcess())
    with pytest.raises(RuntimeError, match=r"within its block: with hab.Run\(...\) as run:"):
        hab.Run(tmp_path / "run", training, epochs=1).epochs()


def test_epochs_counted_by_the_script_are_refused(tmp_path: Path) -> None:
    """They had no checkpoint at their end, and after a stop there the run was called complete."""
    model = nn.Linear(4, 2)
    optimizer, batches = torch.optim.SGD(model.parameters(), lr=0.1), hab.AdaptiveBatches(TRAIN, 8)
    training = hab.AdaptiveTraining(model, optimizer, batches, cluster=SingleProcess())
    steps = hab.Run(tmp_path / "run", training, epochs=3).epoch(0)
    with pytest.raises(RuntimeError, match=r"^epoch 0 is not of run.epochs\(\): write for epoch in run.epochs\(\):$"):
        next(steps)


def test_a_metric_that_the_script_does_not_have_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script(tmp_path / "run", metric="f1")
    assert ended.value.code == 2
    line = "metric: given f1; allowed: loss, accuracy, which the script has; type metric='loss'"
    assert capsys.readouterr().err == f"adabatch: error: {line}\n"


def test_a_journal_of_its_own_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script(tmp_path / "run", journal=hab.Journal(tmp_path / "mine.jsonl"))
    assert "journal: given" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_script_that_evaluates_nothing_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script(tmp_path / "run", evaluates=False, metric="loss")
    said = capsys.readouterr().out
    assert said.count("epoch ") >= 4
    assert "test loss  not evaluated after 4 epochs" in said


def test_a_fault_of_the_script_is_pythons_own_and_gives_the_folder_back(undisturbed: Path, tmp_path: Path) -> None:
    def fault(training: hab.AdaptiveTraining) -> None:
        if training.steps == 20:
            raise ZeroDivisionError("a fault")

    with pytest.raises(ZeroDivisionError, match="a fault"):
        script(tmp_path / "run", at_step=fault)
    assert not (tmp_path / "run" / "owner.json").exists()
    script(tmp_path / "run")
    assert_same(tmp_path / "run", undisturbed)
