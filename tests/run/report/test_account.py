"""What a folder tells of its run, whatever became of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from hpc_adabatch.errors import InputError
from hpc_adabatch.policies import POLICIES
from hpc_adabatch.run.owner import Owner
from hpc_adabatch.run.report.account import State, account, accounts
from hpc_adabatch.run.report.words import standing, tiles, verdict

sys.path.insert(0, str(Path(__file__).resolve().parent))
from made_runs import Record, ended, run, without_end


@pytest.mark.parametrize("rule", sorted(POLICIES))
def test_a_complete_run(rule: str, tmp_path: Path) -> None:
    found = run(tmp_path, rule)
    assert found.state == State.COMPLETE
    assert found.result == json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    (tmp_path / "result.json").unlink()  # its numbers are in the journal too
    again = account(tmp_path)
    assert again.state == State.COMPLETE
    same = {"steps", "samples_seen", "batches", "metric", "steps_of_fixed_batch", "final_global_batch", "epochs"}
    assert {name: again.result[name] for name in same} == {name: found.result[name] for name in same}


def test_the_speed_of_a_run_without_result_is_that_of_its_epochs(tmp_path: Path) -> None:
    found = run(tmp_path, "adabatch", complete=False)
    epochs = [record["samples_per_s"] for record in found.of_kind("evaluation")]
    assert found.result["samples_per_s"] == pytest.approx(3 / sum(1 / rate for rate in epochs), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        (without_end, State.CUT_OFF, "its journal has no end"),
        (ended("SIGTERM"), State.STOPPED, "by SIGTERM; the same command with --resume auto goes on"),
        (ended("diverged: 100 steps in a row were skipped"), State.DIVERGED, ": 100 steps in a row were skipped"),
    ],
)
def test_runs_that_did_not_come_to_their_end(change: object, state: State, words: str, tmp_path: Path) -> None:
    found = run(tmp_path, "noise_scale", change, complete=False)  # type: ignore[arg-type]
    assert found.state == state
    assert words in standing(found)
    assert verdict(found).startswith(state.value.capitalize())
    assert words.partition(";")[0] in verdict(found)
    assert tiles(found)[0].value == f"{found.records[-1]['step']}"


def test_a_run_that_trains_now(tmp_path: Path) -> None:
    run(tmp_path, "noise_scale", without_end, complete=False)
    with (tmp_path / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "statist')  # a line that is just being written
    with Owner(tmp_path) as owner:
        owner.claim()
        found = account(tmp_path)
    assert found.state == State.RUNNING
    assert verdict(found).startswith("Training, at epoch 3 of 3 or later; by then the global batch had ")
    assert account(tmp_path).state == State.CUT_OFF


def test_a_run_that_left_its_job_for_other_nodes(tmp_path: Path) -> None:
    def left(records: list[Record]) -> list[Record]:
        return [*ended("nodes")(records)[:-1], {**ended("nodes")(records)[-1], "nodes": 8}]

    assert standing(run(tmp_path / "left", "fixed", left, complete=False)).endswith("to go on on 8 node(s)")

    def followed(records: list[Record]) -> list[Record]:
        return [{**r, "nodes": 8} if r["kind"] == "resume" else r for r in records]

    assert run(tmp_path / "followed", "fixed", followed).result["nodes"] == 8
    assert run(tmp_path / "earlier", "fixed").result["nodes"] == 1


def test_a_run_that_went_on_after_it_was_stopped_is_not_stopped(tmp_path: Path) -> None:
    stopped = run(tmp_path, "fixed", ended("SIGUSR2"), complete=False)
    more = [{**stopped.start, "kind": "resume", "step": 3, "cursor": 1437}]
    assert run(tmp_path, "fixed", lambda _: stopped.records + more, complete=False).state == State.CUT_OFF


def test_labels_tell_folders_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a/run", "b/run", "c")]
    for folder in folders:
        run(folder, "fixed")
    assert [found.label for found in accounts(folders)] == [str(folders[0]), str(folders[1]), "c"]


def test_the_first_run_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    run(tmp_path / "a", "fixed")
    with pytest.raises(InputError, match=r"given .*missing \(FileNotFoundError\); allowed: the folder of a run"):
        accounts([tmp_path / "a", tmp_path / "missing"])


def test_the_better_metric(tmp_path: Path) -> None:
    up = run(tmp_path / "up", "adabatch")
    values = [record["metric"] for record in up.of_kind("evaluation")]
    assert up.best is not None
    assert up.best["metric"] == max(values)
    assert up.first_as_good_as(values[1]) == up.of_kind("evaluation")[1]
    assert up.first_as_good_as(1.1) is None
    for start in ({"larger_is_better": False}, {"metric": "perplexity"}):  # the latter of an earlier release
        down = run(tmp_path / "down", "adabatch", lambda records, start=start: [records[0] | start, *records[1:]])
        assert down.best is not None
        assert down.best["metric"] == min(values)
        assert down.first_as_good_as(values[0]) == down.of_kind("evaluation")[0]
