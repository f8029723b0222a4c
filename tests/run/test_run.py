"""A run killed before its first checkpoint; one told to stop as it ends; runs that end by AdaScale's clock."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError, StorageError
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.run.result import report
from hpc_adabatch.training.journal import read
from hpc_adabatch.training.signals import StopFlag

pytestmark = pytest.mark.long

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")


def test_a_run_killed_before_its_first_checkpoint_leaves_nothing_in_the_journal_of_the_next(tmp_path: Path) -> None:
    """Bug story: the journal held both attempts, and where a rule had changed the batch, the report was refused."""
    flags = ["--epochs=1", "--policy=schedule", "--policy.text=0:16 320sa:32 640sa:64"]
    recipe, _, resolved = parse_recipe("train", [RECIPE, *flags])
    killed = RecipeRun(recipe, resolved, tmp_path / "run", resume=True, cluster=SingleProcess())
    for step in killed.training.epoch(0):
        for inputs, targets in step:
            step.backward(recipe.task.loss(killed.forward(inputs), targets))
        step.update()
        if killed.training.steps == 30:
            break
    again = RecipeRun(recipe, resolved, tmp_path / "run", resume=True, cluster=SingleProcess())
    assert again.train() == 0
    kinds = [record["kind"] for record in read(tmp_path / "run" / "journal.jsonl")]
    assert kinds.count("start") == 1
    assert kinds.count("decision") == 2
    assert len(list(report(tmp_path / "run"))) == 4


def test_a_full_disk_stops_no_epoch_but_no_run_ends_well_without_its_checkpoint(
    tmp_path: Path, small_files: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run then goes on from the last good checkpoint, and comes to the same as one that always had room."""
    flags = ["--epochs=3", "--global_batch=256", "--max_micro_batch=256", "--policy=fixed"]
    recipe, _, resolved = parse_recipe("train", [RECIPE, *flags])

    def run(folder: str) -> RecipeRun:
        return RecipeRun(recipe, resolved, tmp_path / folder, resume=True, cluster=SingleProcess())

    first = run("run")
    save, saves = first.life._saver.save, iter([1_000_000_000, 100_000, 100_000])

    def save_with_little_room(state: dict[str, Any], *, wait: bool) -> None:
        with small_files(next(saves)):
            save(state, wait=wait)
            if first.life._saver._thread is not None:
                first.life._saver._thread.join()

    first.life._saver.save = save_with_little_room  # type: ignore[method-assign]
    with pytest.raises(StorageError, match=r"checkpoint/last.pt cannot be written: File too large") as raised:
        first.train()
    assert raised.value.shared  # no rank waits for rank 0
    assert first.training.plan.epoch == 2  # the second epoch's failed too, and was not the end
    assert capsys.readouterr().out.count("warning:") == 1
    assert [path.name for path in (tmp_path / "run" / "checkpoint").iterdir()] == ["last.pt"]
    config = (tmp_path / "run" / "config.yaml").read_bytes()
    with small_files(10), pytest.raises(InputError, match=r"owner\.json \(No space left on device\)"):
        run("run")
    assert not (tmp_path / "run" / "owner.json").exists()
    with small_files(700), pytest.raises(StorageError, match=r"(config\.yaml|journal\.jsonl) cannot be written"):
        run("run")
    assert (tmp_path / "run" / "config.yaml").read_bytes() == config
    again = run("run")
    assert again.training.plan.samples_seen == 1437
    assert (again.train(), run("whole").train()) == (0, 0)
    states = [torch.load(tmp_path / name / "checkpoint" / "last.pt", weights_only=True) for name in ("run", "whole")]
    found, expected = (state["training"]["model"] for state in states)
    assert all(torch.equal(found[name], weights) for name, weights in expected.items())


def test_a_stop_that_finds_no_room_for_its_checkpoint_is_not_taken_for_one_that_saved(
    tmp_path: Path, small_files: Any
) -> None:
    recipe, _, resolved = parse_recipe("train", [RECIPE, "--epochs=1", "--global_batch=256", "--policy=fixed"])
    stopped = RecipeRun(recipe, resolved, tmp_path, resume=False, cluster=SingleProcess(), stop_flag=StopsAt(2))
    with small_files(100_000), pytest.raises(StorageError, match="cannot be written") as raised:
        stopped.train()
    assert raised.value.exit_code == 74
    assert read(tmp_path / "journal.jsonl")[-1]["reason"] == "SIGUSR2"


N = 1437
ADASCALE = [
    *(
        "--epochs=1",
        "--model=narrow_cnn",
        "--policy=fixed",
        "--global_batch=256",
        "--max_micro_batch=128",
        "--journal_every=1",
    ),
    *("--learning_rate.scaling=adascale", "--learning_rate.reference_batch=16", "--learning_rate.decay=cosine"),
    "--measure_every=1",
]


class StopsAt(StopFlag):
    """Asks to stop in the step of this number."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def numbers(self) -> list[float]:
        self.left -= 1
        return [0.0, 0.0, float(self.left == 0), 0.0, 0.0]


def trained(folder: Path, *flags: str, resume: bool = False, stop: StopFlag | None = None) -> int:
    recipe, _, resolved = parse_recipe("train", [RECIPE, *ADASCALE, *flags])
    return RecipeRun(recipe, resolved, folder, resume=resume, cluster=SingleProcess(), stop_flag=stop).train()


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return found


def rates(folder: Path) -> list[tuple[int, float]]:
    records = read(folder / "journal.jsonl")
    return [(record["step"], record["learning_rate"]) for record in records if record["kind"] == "statistics"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert trained(folder) == 0
    return folder


def test_a_recipe_trains_until_the_clock_is_full_and_all_its_files_agree(whole: Path) -> None:
    records, found = read(whole / "journal.jsonl"), result(whole)
    end, last = records[-1], [record for record in records if record["kind"] == "evaluation"][-1]
    before = [record for record in records if record["step"] == end["step"] - 1][-1]
    assert before["clock"] < 1 <= end["clock"] == last["clock"] == found["clock"]
    assert (end["cursor"], end["step"]) == (last["cursor"], last["step"]) == (found["samples_seen"], found["steps"])
    assert found["epochs"] == end["cursor"] / N
    assert 1 < found["epochs"] < 16  # gains lie between 1 and 16
    assert found["reference_batch"] == 16
    assert found["steps_of_fixed_batch"] == round(end["clock"] * 90)  # 89.8 steps of 16
    assert rates(whole)[-1][1] < 0.01 * max(rate for _, rate in rates(whole))
    words = [part for part in report(whole) if isinstance(part, str)]
    assert f"after {found['epochs']:.6g} epochs" in words[0]
    assert "with the batch fixed at 16" in words[1]


@pytest.mark.parametrize("before_the_end", [1, 5])
def test_a_run_stopped_on_its_way_to_an_end_within_a_pass_goes_on_exactly(
    before_the_end: int, whole: Path, tmp_path: Path
) -> None:
    steps = result(whole)["steps"]
    assert trained(tmp_path / "run", stop=StopsAt(steps - before_the_end)) == 75
    assert not (tmp_path / "run" / "result.json").exists()
    assert trained(tmp_path / "run", resume=True) == 0
    found, expected = result(tmp_path / "run"), result(whole)
    for name in ("steps", "samples_seen", "epochs", "clock", "metric"):
        assert found[name] == expected[name]
    assert rates(tmp_path / "run") == rates(whole)
    weights, same = (
        torch.load(folder / "checkpoint" / "last.pt", weights_only=True)["training"]["model"]
        for folder in (tmp_path / "run", whole)
    )
    assert all(torch.equal(weights[name], same[name]) for name in same)


def test_a_run_that_is_complete_stays_complete_and_may_be_prolonged(tmp_path: Path) -> None:
    assert trained(tmp_path / "run", "--learning_rate.epochs=1") == 0
    first = result(tmp_path / "run")
    assert trained(tmp_path / "run", "--learning_rate.epochs=1", resume=True) == 0
    assert result(tmp_path / "run") == first
    assert trained(tmp_path / "run", "--learning_rate.epochs=1", "--epochs=2", resume=True) == 0
    assert result(tmp_path / "run")["clock"] >= 2
    assert result(tmp_path / "run")["samples_seen"] > first["samples_seen"]


def test_a_replay_ends_at_the_same_step(whole: Path, tmp_path: Path) -> None:
    assert trained(tmp_path / "again", "--policy=replay", f"--policy.journal={whole / 'journal.jsonl'}") == 0
    for name in ("steps", "samples_seen", "clock"):
        assert result(tmp_path / "again")[name] == result(whole)[name]
    assert rates(tmp_path / "again") == rates(whole)


def test_on_the_clock_of_samples_a_recipe_ends_after_its_epochs(tmp_path: Path) -> None:
    assert trained(tmp_path / "run", "--learning_rate.clock=samples") == 0
    found = result(tmp_path / "run")
    assert (found["epochs"], found["clock"], found["samples_seen"]) == (1, 1, N)
    assert (found["reference_batch"], found["steps_of_fixed_batch"]) == (256, 6)
    assert not any("clock" in record for record in read(tmp_path / "run" / "journal.jsonl"))


@pytest.mark.parametrize(("left", "code", "reason"), [(0, 0, "complete"), (1, 75, "SIGTERM")])
def test_a_signal_in_the_last_step_of_all_stops_nothing(left: int, code: int, reason: str, tmp_path: Path) -> None:
    """Bug story: the run was finished, and asked the scheduler to be started again."""
    recipe, _, resolved = parse_recipe("train", [RECIPE, "--epochs=1", "--policy=fixed", "--global_batch=256"])

    class Told(StopFlag):
        def numbers(self) -> list[float]:
            plan = run.training.plan
            if plan.n_samples - plan.cursor <= (left + 1) * 256:
                self._hear(signal.SIGTERM, None)
            return super().numbers()

    run = RecipeRun(recipe, resolved, tmp_path / "run", resume=True, cluster=SingleProcess(), stop_flag=Told())
    assert run.train() == code
    assert run.folder.result.exists() == (code == 0)
    ends = [record for record in read(tmp_path / "run" / "journal.jsonl") if record["kind"] == "end"]
    assert [end["reason"] for end in ends] == [reason]


def test_a_run_goes_on_where_the_disk_has_damaged_its_journal(whole: Path, tmp_path: Path) -> None:
    """Its start is written again, what is lost is named, and it ends with all its files."""
    assert trained(tmp_path / "run", stop=StopsAt(result(whole)["steps"] - 5)) == 75
    content = (tmp_path / "run" / "journal.jsonl").read_bytes()
    (tmp_path / "run" / "journal.jsonl").write_bytes(bytes(300) + content[300:-500])
    assert trained(tmp_path / "run", resume=True) == 0
    assert len(list(report(tmp_path / "run"))) == 4
    records = read(tmp_path / "run" / "journal.jsonl")
    assert records[0] == read(whole / "journal.jsonl")[0] | {"time_s": records[0]["time_s"], "name": records[0]["name"]}
    assert [record["kind"] for record in records].count("gap") == 1
    for name in ("steps", "samples_seen", "clock", "metric"):
        assert result(tmp_path / "run")[name] == result(whole)[name]


def test_averaged_weights_are_evaluated_beside_the_weights_and_go_on(tmp_path: Path) -> None:
    """Stopped in the second epoch and resumed, the average comes to the same as undisturbed."""
    flags = ["--epochs=2", "--weight_average=0.9", "--policy=schedule", "--policy.text=0:16 900sa:128"]
    recipe, _, resolved = parse_recipe("train", [RECIPE, *flags])

    def run(folder: str, stop: StopFlag | None = None) -> int:
        cluster = SingleProcess()
        return RecipeRun(recipe, resolved, tmp_path / folder, resume=True, cluster=cluster, stop_flag=stop).train()

    def scores(folder: str) -> list[dict[str, float]]:
        records = read(tmp_path / folder / "journal.jsonl")
        return [record["scores"] for record in records if record["kind"] == "evaluation"]

    assert (run("whole"), run("parts", StopsAt(25)), run("parts")) == (0, 75, 0)
    assert scores("whole")[-1] == scores("parts")[-1]
    assert set(scores("whole")[0]) == {"averaged_loss", "averaged_accuracy"}
