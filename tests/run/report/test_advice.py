"""Each warning comes where its evidence is in the journal, and not elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from hpc_adabatch.run.report.advice import advice

sys.path.insert(0, str(Path(__file__).resolve().parent))
from made_runs import Change, Record, ended, run


def given(folder: Path, rule: str, change: Change = list, *, complete: bool = True) -> dict[str, str]:
    return {one.title: one.text for one in advice(run(folder, rule, change, complete=complete))}


def with_noise(**fields: object) -> Change:
    def change(records: list[Record]) -> list[Record]:
        return [{**r, **fields} if "noise_scale" in r else r for r in records]

    return change


def test_intervals_that_decide_nothing(tmp_path: Path) -> None:
    told = given(tmp_path, "norm_test", with_noise(low=10.0, high=None))
    assert "have no upper end" in told["Too noisy to decide"]
    assert "--statistics_budget 0.05" in told["Too noisy to decide"]
    assert "Too noisy to decide" in given(tmp_path, "norm_test", with_noise(low=10.0, high=101.0))
    assert "Too noisy to decide" not in given(tmp_path, "norm_test", with_noise(low=10.0, high=99.0))
    assert "Too noisy to decide" not in given(tmp_path, "fixed")


def test_a_batch_at_its_maximum(tmp_path: Path) -> None:
    told = given(tmp_path, "big_batch")["At the maximum"]
    assert "was held at the maximum, 600" in told
    assert "--max_global_batch 1200" in told
    assert "At the maximum" not in given(tmp_path, "schedule"), "its largest batch is below the maximum"
    assert "At the maximum" not in given(tmp_path, "fixed")


def test_a_batch_beyond_the_noise(tmp_path: Path) -> None:
    assert "Larger than the noise asks for" in given(tmp_path, "big_batch", with_noise(low=1.0, high=299.0))
    assert "Larger than the noise asks for" not in given(tmp_path, "big_batch", with_noise(low=1.0, high=301.0))


def test_divergence_and_skips(tmp_path: Path) -> None:
    told = given(tmp_path, "fixed", ended("diverged: 100 steps in a row were skipped"), complete=False)
    assert "at learning rate 0.05" in told["Diverged"]

    def skipping(records: list[Record]) -> list[Record]:
        return [*records[:3], {**records[2], "kind": "skipped", "reason": "not finite"}, *records[3:]]

    assert given(tmp_path, "fixed", skipping)["Skipped updates"].startswith("1 of 9 updates were skipped")
    assert "Skipped updates" not in given(tmp_path, "fixed")


def test_records_that_were_lost(tmp_path: Path) -> None:
    def gap(records: list[Record]) -> list[Record]:
        return [*records[:3], {**records[2], "kind": "gap", "reason": "lost"}, *records[3:]]

    assert "Lost records" in given(tmp_path, "fixed", gap)


def test_an_end_that_is_worse_than_the_best(tmp_path: Path) -> None:
    def worse(records: list[Record]) -> list[Record]:
        return [*records[:-1], {**records[-1], "metric": 0.5}]

    assert "--until accuracy=" in given(tmp_path, "adabatch", worse)["Worse than its best"]
    assert "Worse than its best" not in given(tmp_path, "adabatch")


@pytest.mark.parametrize(
    ("seconds", "title"),
    [
        ((0.3, 0.6, 0.05, 0.05), "Bound by input"),
        ((0.05, 0.6, 0.05, 0.3), "Bound by communication"),
        ((0.05, 0.6, 0.3, 0.05), "Bound by the slowest rank"),
    ],
)
def test_what_a_step_waits_for(seconds: tuple[float, ...], title: str, tmp_path: Path) -> None:
    (tmp_path / "measure").mkdir()
    names = ("data_s", "compute_s", "straggler_s", "exposed_s")
    content = json.dumps(dict(zip(names, seconds, strict=True)))
    (tmp_path / "measure" / "result.json").write_text(content, encoding="utf-8")
    told = given(tmp_path, "fixed")
    assert [one for one in told if one.startswith("Bound by")] == [title]
    assert "30%" in told[title]
