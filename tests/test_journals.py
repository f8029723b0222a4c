"""Every reader of journals, on those that real runs of every rule wrote (journals/make.py).

Each step left a line of kind ``statistics``. What readers find is held to these lines alone: where each step began, how
many samples it took, and which batch had been decided.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hpc_adabatch import InputError
from hpc_adabatch.batches import BatchPlan
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.policies import POLICIES, Progress
from hpc_adabatch.replay import Replay
from hpc_adabatch.run.forecast import phases
from hpc_adabatch.run.growth import growth, world_size
from hpc_adabatch.run.picture import write_picture
from hpc_adabatch.run.result import report, write_result
from hpc_adabatch.run.target import Target, first_reached
from hpc_adabatch.study.ahead import plan_ahead, way_of_run
from hpc_adabatch.study.flags import NodesFlags
from hpc_adabatch.study.report.history import history
from hpc_adabatch.study.results import CellResult
from hpc_adabatch.training.journal import Record, read

ROOT = Path(__file__).resolve().parent.parent
JOURNALS = ROOT / "tests" / "journals"
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other by name

from outcome import outcome  # noqa: E402

RULES = sorted(POLICIES)
MEASURING = ["big_batch", "cabs", "goodput", "inner_product", "noise_scale", "norm_test", "simigrad"]


@dataclass
class Step:
    """A step as the journal's lines tell it, one after another."""

    cursor: int  # where it began
    samples: int
    decided: int  # global batch
    lengthened: bool
    noise_scale: float | None  # known before it


def steps_of(records: list[Record]) -> list[Step]:
    """The steps of a run."""
    found: list[Step] = []
    decided, known, newer, lengthened = 0, None, None, False
    for record in records:
        if record["kind"] in ("start", "decision"):
            decided = record["global_batch"]
        elif "noise_scale" in record:  # measured in the step whose statistics follow
            signal = record["signal"] - record["variance"] / 1437  # of batches that share no sample
            newer = record["variance"] / signal if signal > 0 else math.inf
        elif record["kind"] == "step":
            lengthened = True
        elif record["kind"] == "statistics":
            samples = record["global_batch"]
            found.append(Step(record["cursor"] - samples, samples, decided, lengthened, known))
            known, lengthened = newer, False
    return found


def changes(steps: list[Step], per_epoch: int) -> list[tuple[float, int]]:
    """(epoch, global batch) at the start and at each change."""
    firsts = [next(group) for _, group in groupby(steps, key=lambda step: step.decided)]
    return [(step.cursor / per_epoch, step.decided) for step in firsts]


@pytest.fixture(params=RULES)
def rule(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def records(rule: str) -> list[Record]:
    return read(JOURNALS / f"{rule}.jsonl")


def evaluations(records: list[Record]) -> list[Record]:
    return [record for record in records if record["kind"] == "evaluation"]


def test_the_journals_are_whole(records: list[Record], rule: str) -> None:
    """Steps follow one another without a gap, over three epochs and a restart, and short ones are among them."""
    steps, per_epoch = steps_of(records), records[0]["samples_per_epoch"]
    assert records[0]["policy"] == rule
    assert [step.cursor + step.samples for step in steps] == [*(step.cursor for step in steps[1:]), 3 * per_epoch]
    assert len(steps) == records[-1]["step"]
    assert any(step.samples != step.decided for step in steps)
    assert [record["kind"] for record in records].count("resume") == 1


def test_growth_and_ranks(records: list[Record]) -> None:
    assert growth(records) == changes(steps_of(records), records[0]["samples_per_epoch"])
    assert world_size(records) == 1


@pytest.mark.parametrize("rule", MEASURING, indirect=True)
@pytest.mark.parametrize("batch", [1, 500, 10**6])
def test_the_way_to_the_target_is_that_of_the_steps(records: list[Record], batch: int) -> None:
    """Of each step by itself: its samples over 1 + its batch / noise scale, times 1 + batch / noise scale."""
    steps, needed = steps_of(records), 0.0
    first = next(step.noise_scale for step in steps if step.noise_scale is not None)
    for step in steps:
        noise = max(1.0, first if step.noise_scale is None else step.noise_scale)
        held = step.samples if step.lengthened else step.decided
        needed += step.samples * (1 + batch / noise) / (1 + held / noise)
    assert sum(stretch.samples(batch) for stretch in way_of_run(records)) == pytest.approx(needed)


@pytest.mark.parametrize("rule", ["big_batch", "fixed", "noise_scale"], indirect=True)
def test_a_plan_of_nodes_takes_any_run_that_measured(rule: str, tmp_path: Path) -> None:
    shutil.copy(JOURNALS / f"{rule}.jsonl", tmp_path / "journal.jsonl")
    (tmp_path / "probe.json").write_text(
        json.dumps(
            {
                "device_name": "x",
                "messages": None,
                "nodes": 1,
                "steps": {"steps": [{"micro_batch": 64, "forward_backward": {"median_s": 1}}]},
            }
        )
    )
    flags = NodesFlags(nodes="1,2", probe=str(tmp_path / "probe.json"), from_run=str(tmp_path))
    recipe, _, _ = parse_recipe("plan", [str(ROOT / "recipes" / "quickstart.yaml")])
    if rule in MEASURING:
        assert any("goodput" in str(part) for part in plan_ahead(recipe, 1, flags))
    else:
        with pytest.raises(InputError, match="without noise; allowed: a run that measured its noise scale"):
            list(plan_ahead(recipe, 1, flags))


def test_replay_gives_each_step_its_samples(records: list[Record], rule: str) -> None:
    replayed, per_epoch = Replay(journal=str(JOURNALS / f"{rule}.jsonl")), records[0]["samples_per_epoch"]
    for step in steps_of(records):
        at = Progress(
            samples_seen=step.cursor,
            samples_per_epoch=per_epoch,
            start_batch=1,
            global_batch=1,
            max_global_batch=per_epoch,
        )
        plan = BatchPlan(per_epoch, 0)
        plan.cursor = step.cursor % per_epoch
        assert len(plan.cut(replayed.propose(at).global_batch)) == step.samples


def test_the_plan_of_a_replay_is_the_run(records: list[Record], rule: str) -> None:
    flags = [
        "--policy=replay",
        f"--policy.journal={JOURNALS / rule}.jsonl",
        "--epochs=3",
        "--max_global_batch=1437",
    ]  # big_batch ends epochs with more than its maximum
    start = f"--global_batch={Replay(journal=str(JOURNALS / f'{rule}.jsonl')).initial_batch}"
    recipe, _, _ = parse_recipe("plan", [str(ROOT / "recipes" / "quickstart.yaml"), *flags, start])
    assert sum(phase.updates for phase in phases(recipe, recipe.task.load(), 1)) == len(steps_of(records))


def test_result_and_table(records: list[Record], rule: str, tmp_path: Path) -> None:
    shutil.copy(JOURNALS / f"{rule}.jsonl", tmp_path / "journal.jsonl")
    write_result(tmp_path / "result.json", records, wall_s=1.0, samples_per_s=2.0)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    steps, batches = steps_of(records), changes(steps_of(records), records[0]["samples_per_epoch"])
    assert (result["steps"], result["samples_seen"]) == (len(steps), sum(step.samples for step in steps))
    assert result["steps_of_fixed_batch"] == 3 * math.ceil(1437 / steps[0].decided - 0.5)
    assert result["batches"] == [[round(epoch, 6), batch] for epoch, batch in batches]
    assert result["final_global_batch"] == steps[-1].decided
    assert result["metric"]["value"] == evaluations(records)[-1]["metric"]
    console = Console(width=160)
    with console.capture() as capture:
        for part in report(tmp_path):
            console.print(part)
    rows = [line.split("│") for line in capture.get().splitlines() if " to " in line and "│" in line]
    by_batch = [(batch, len(list(group))) for batch, group in groupby(steps, key=lambda step: step.decided)]
    assert [(int(row[2]), int(row[5])) for row in rows] == by_batch
    found = outcome(result, records)
    assert [point.value for point in found.curve] == [line["metric"] for line in evaluations(records)]
    assert [point.updates for point in found.curve] == [
        sum(step.cursor < epoch * 1437 for step in steps) for epoch in (1, 2, 3)
    ]
    assert found.batches == [*((round(epoch, 6), batch) for epoch, batch in batches), (3.0, steps[-1].decided)]


@pytest.mark.long
@pytest.mark.parametrize("rule", ["big_batch", "fixed"], indirect=True)  # the first draws as they all do
def test_the_picture(records: list[Record], tmp_path: Path) -> None:
    write_picture(tmp_path / "training.png", records)
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")


def test_the_first_epoch_as_good_as_the_target(records: list[Record]) -> None:
    best = max(line["metric"] for line in evaluations(records))
    target = Target(metric="accuracy", value=best, larger_is_better=True)
    epoch = next(n for n, line in enumerate(evaluations(records), 1) if line["metric"] == best)
    found: dict[str, Any] | None = first_reached(target, records)
    assert found is not None
    assert (found["epoch"], found["samples"]) == (epoch, epoch * 1437)
    assert found["step"] == sum(step.cursor < epoch * 1437 for step in steps_of(records))
    never = Target(metric="accuracy", value=1.1, larger_is_better=True)
    assert first_reached(never, records) is None


def test_the_history_of_a_studys_report(records: list[Record], rule: str) -> None:
    cell = CellResult(cell="a", mode="adaptive", nodes=1, ranks=1, variant=rule, repeat=1, state="OK")
    found = history(cell, records)
    assert found is not None
    decided = [batch for _, batch in changes(steps_of(records), 1)]
    assert [batch for _, batch in found.batches][: len(decided)] == decided
    assert len(found.batches) <= len(decided) + 1  # a last decision, after which nothing was trained
    assert [value for _, value in found.metrics] == [line["metric"] for line in evaluations(records)]
    assert found.end_s == max(record["time_s"] for record in records)


def test_a_journal_cut_within_its_last_line_is_read_up_to_it(records: list[Record], rule: str, tmp_path: Path) -> None:
    text = (JOURNALS / f"{rule}.jsonl").read_text(encoding="utf-8")
    (tmp_path / "journal.jsonl").write_text(text[:-7], encoding="utf-8")
    assert read(tmp_path / "journal.jsonl") == records[:-1]


@pytest.mark.long
def test_a_run_of_today_writes_the_same_lines(tmp_path: Path) -> None:
    """Else: python tests/journals/make.py."""
    sys.path.insert(0, str(JOURNALS))
    from make import make

    def lines(records: list[Record]) -> list[object]:
        return [(line["kind"], line["step"], line["cursor"], line.get("global_batch"), *line) for line in records]

    today = read(make("schedule", tmp_path / "run"))
    assert today[0].pop("format") == 1  # which the journals here, older than the number, mean too
    for line in today:  # as for the number
        assert line.pop("engine", "none") == "none"
        told = line.pop("device_name", ""), line.pop("versions", {})
        assert all(told) == (line["kind"] in ("start", "resume"))
    assert lines(today) == lines(read(JOURNALS / "schedule.jsonl"))


def test_there_is_a_journal_of_every_rule() -> None:
    assert sorted(path.stem for path in JOURNALS.glob("*.jsonl")) == RULES
    assert all(path.stat().st_size < 16_000 for path in JOURNALS.glob("*.jsonl"))


def test_of_two_attempts_in_a_journal_the_last_counts(records: list[Record], rule: str, tmp_path: Path) -> None:
    """Bug story: a run killed before its first checkpoint and started again by an earlier release left both attempts.

    Where the rule had changed the batch, ``report`` was a ValueError for ever, and a replay had two beginnings.
    """
    whole = (JOURNALS / f"{rule}.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(whole[: len(whole) // 2] + whole))
    write_result(tmp_path / "result.json", records, wall_s=1.0, samples_per_s=2.0)
    assert read(path) == records
    assert list(report(tmp_path))
    assert Replay(journal=str(path)).cursors[:1] == [0]
