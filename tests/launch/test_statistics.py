"""The gradient's noise on real ranks: right, finite, decided once, and repeatable."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from hpc_adabatch.command_line import CHOICES

pytestmark = pytest.mark.launch
VARIANTS = ("adascale", "armijo", "barzilai_borwein", "budget", "float16")


@pytest.mark.parametrize(
    ("ranks", "launcher", "arguments"),
    [
        (1, "plain", "16 100"),  # one pass is split in two
        (1, "plain", "16 100 inner"),
        (1, "mpirun", "17 6 scaled"),  # three uneven passes
        (1, "plain", "17 6 inner scaled"),
        (2, "mpirun", "16 100"),
        (2, "torchrun", "16 8 inner scaled"),
        (2, "horovodrun --gloo", "21 4 inner"),  # uneven shares, three passes
        (3, "mpirun", "13 2 scaled"),
        (3, "mpirun", "13 3 inner"),
        (4, "mpirun, torch", "23 3"),
        (3, "mpirun", "13 3 moments scaled"),
        (2, "mpirun, torch", "21 4 moments"),
        (4, "mpirun", "23 3 inner scaled"),
    ],
)
def test_statistics_equal_those_of_explicit_per_sample_gradients(
    ranks: int, launcher: str, arguments: str, launch: Any, programs: Path
) -> None:
    done = launch(programs / "brute_force.py", *arguments.split(), ranks=ranks, launcher=launcher)
    assert done.stdout.count("steps agree") == ranks


@pytest.mark.parametrize(
    ("where", "launcher"),
    [("loss", "mpirun"), ("gradient", "torchrun"), ("unmeasured", "mpirun"), ("scaled", "mpirun, torch")],
)
def test_a_step_with_an_infinity_on_one_of_three_ranks_is_skipped_by_all(
    where: str, launcher: str, launch: Any, programs: Path
) -> None:
    assert launch(programs / "infinity.py", where, ranks=3, launcher=launcher).stdout.count("skipped together") == 3


def test_ranks_never_disagree_whatever_the_rule(launch: Any, programs: Path, tmp_path: Path) -> None:
    """300 steps on 4 ranks for every rule: batch, learning rate and cursor are the same everywhere."""
    found = dict(
        re.findall(
            r"([\w ]+): 120 steps agree, (\d+) batch",
            launch(programs / "agreement.py", tmp_path, ranks=4, timeout_s=240).stdout,
        )
    )
    assert {rule for rule in found if " " not in rule} == set(CHOICES["policy"][0])
    assert {rule.split()[-1] for rule in found if " " in rule} == {*VARIANTS}
    assert all(int(sizes) >= 3 for rule, sizes in found.items() if rule != "fixed" and " " not in rule), found


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint" / "last.pt", weights_only=True)["training"]


def test_replay_gives_bitwise_the_same_weights(adabatch: Any, tmp_path: Path) -> None:
    """Two ranks, one pass each: measuring changes no sum."""
    common = ["train", "recipes/quickstart.yaml", "--epochs=6", "--task.augment=true"]
    found = ["--policy=noise_scale", "--policy.dwell=2", "--measure_every=4"]
    adabatch(*common, *found, "--out", tmp_path / "found")
    adabatch(
        *common,
        "--policy=replay",
        f"--policy.journal={tmp_path / 'found' / 'journal.jsonl'}",
        "--out",
        tmp_path / "again",
    )
    a, b = (json.loads((tmp_path / name / "result.json").read_text(encoding="utf-8")) for name in ("found", "again"))
    assert a["batches"] == b["batches"]
    assert len(a["batches"]) >= 3
    for name, weights in state(tmp_path / "found")["model"].items():
        assert torch.equal(state(tmp_path / "again")["model"][name], weights)


@pytest.mark.parametrize(
    ("rule", "flags"),
    [("big_batch", []), ("norm_test", ["--measure_every=4", "--learning_rate.scaling=adascale"])],
)
def test_replay_repeats_what_was_decided_inside_steps_and_adascales_noise(
    rule: str, flags: list[str], adabatch: Any, tmp_path: Path
) -> None:
    common = ["train", "recipes/quickstart.yaml", "--epochs=4", "--journal_every=1", "--policy"]
    adabatch(*common, rule, *flags, "--out", tmp_path / "found")
    journal = tmp_path / "found" / "journal.jsonl"
    adabatch(*common, "replay", *flags, "--policy.journal", journal, "--out", tmp_path / "again")

    def steps(name: str) -> list[tuple[int, int, float]]:
        lines = (tmp_path / name / "journal.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        return [(r["cursor"], r["global_batch"], r["learning_rate"]) for r in records if r["kind"] == "statistics"]

    found = steps("found")
    assert steps("again") == found
    assert len({size for _, size, _ in found}) >= 3


@pytest.mark.parametrize("rule", ["norm_test", "noise_scale"])
def test_rules_that_follow_the_gradient_learn_with_fewer_updates(rule: str, adabatch: Any, tmp_path: Path) -> None:
    adabatch("train", "recipes/quickstart.yaml", "--policy", rule, "--measure_every=4", "--out", tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    sizes = [size for _, size in result["batches"]]
    assert sizes == sorted(sizes)
    assert all(b <= 2 * a for a, b in pairwise(sizes))
    assert sizes[-1] >= 8 * sizes[0]
    assert result["steps"] < result["steps_of_fixed_batch"] / 2
    assert result["metric"]["value"] >= 0.97


def test_a_measured_run_goes_on_exactly_after_a_restart(adabatch: Any, tmp_path: Path) -> None:
    common = ["train", "recipes/quickstart.yaml", "--policy=norm_test", "--measure_every=3"]
    adabatch(*common, "--epochs=5", "--out", tmp_path / "whole")
    adabatch(*common, "--epochs=2", "--out", tmp_path / "parts")
    adabatch(*common, "--epochs=5", "--out", tmp_path / "parts", "--resume=auto")
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert whole["measuring"] == parts["measuring"]
    assert whole["coordinator"] == parts["coordinator"]
    for name, weights in whole["model"].items():
        assert torch.equal(parts["model"][name], weights)
