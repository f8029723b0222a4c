"""What `adabatch noise` says at weights whose noise is known, and where there is no signal."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.gradients import Estimate
from hpc_adabatch.run.noise import NoiseFlags, _advice, _table, measure, report_noise
from hpc_adabatch.tasks.convex import Convex
from hpc_adabatch.training import checkpoint

RECIPE = """
task: {name: ridge, samples: 200, features: 5, condition: 4.0}
global_batch: 20
epochs: 1
"""

GOOD = {"model": {"weight": torch.zeros(1, 9)}, "optimizer": {}, "scaler": None, "global_batch": 20}  # of 9 features


def measured(folder: Path, away: float, steps: int = 40) -> tuple[Estimate, float, float]:
    """The noise so far from the optimum of ridge; the true variance and signal, from the gradients of all samples."""
    (folder / "ridge.yaml").write_text(RECIPE, encoding="utf-8")
    recipe, _, _ = parse_recipe("train", [str(folder / "ridge.yaml")])
    task, data = recipe.task, recipe.task.load()
    assert isinstance(task, Convex)
    model = task.model("linear", data)
    weights = torch.as_tensor(task._problem.minimiser) + away
    with torch.no_grad():
        next(iter(model.parameters())).copy_(weights.reshape(1, -1))
    features, targets = task._problem.features.numpy(), task._problem.targets.numpy().reshape(-1)
    w = weights.numpy().reshape(-1)
    gradients = (features @ w - targets)[:, None] * features + task.penalty * w
    mean = gradients.mean(axis=0)
    found, _ = measure(recipe, data, model, steps, SingleProcess())
    return found, float(((gradients - mean) ** 2).sum() / (len(gradients) - 1)), float(mean @ mean)


def test_the_interval_holds_the_noise_scale_of_the_training_set(tmp_path: Path) -> None:
    found, variance, signal = measured(tmp_path, 0.3)
    assert found.variance == pytest.approx(variance, rel=0.3)
    assert found.low < variance / signal < found.high
    assert abs(found.signal - signal) < found.signal_margin
    assert found.population == 200


def test_at_an_optimum_it_ends_in_a_line_not_in_an_error(tmp_path: Path) -> None:
    """Bug story: the signal read -variance / N there, which is no noise scale to round."""
    found, variance, signal = measured(tmp_path, 0.0, steps=60)
    assert signal < 1e-12 * variance
    assert abs(found.signal) < 2 * found.signal_margin < variance / 20
    assert found.high == math.inf
    assert len(_advice(found, 20, 60)) == 3


def test_a_signal_below_zero_beyond_its_noise_is_said_in_one_line(tmp_path: Path) -> None:
    found, _, _ = measured(tmp_path, 0.3, steps=5)
    below = replace(found, signal=-1.0, signal_margin=0.5, low=100.0, high=math.inf)
    lines = _advice(below, 20, 60)
    assert [line for line in lines if line.startswith("no signal: ")] == [lines[1]]
    assert lines[2] == "at 20 a sample is worth 100% of what it is in the smallest batch"
    none = replace(found, variance=0.0, signal=1.0, low=0.0, high=0.0)
    assert _advice(none, 20, 60)[1].startswith("suggested batch: 1 (1 to 1)")
    assert _table(none, {}, {"weight": 5}).row_count == 1


@pytest.mark.parametrize(("scale", "batch"), [(50.0, 40), (200.0, 100), (1e6, 200)])
def test_the_suggested_batch_has_as_much_noise_as_signal(tmp_path: Path, scale: float, batch: int) -> None:
    """1/B = 1/scale + 1/N at N = 200; a sample is worth E|g|^2 of tiny batches, variance / B, over that of this one."""
    found, _, _ = measured(tmp_path, 0.3, steps=5)
    at = replace(found, variance=scale, signal=1.0, low=scale, high=scale)
    lines = _advice(at, 20, 60)
    assert lines[1].startswith(f"suggested batch: {batch} ({batch} to {batch})")
    worth = scale / 20 / (scale / 20 + max(0.0, 1.0 - scale / 200))
    assert lines[2].startswith(f"at 20 a sample is worth {worth:.0%} ")
    assert np.isfinite(worth)


@pytest.mark.parametrize(
    "state",
    [{}, {"training": []}, {"training": {"model": {}}}, {"training": {**GOOD, "global_batch": "20"}}],
)
def test_a_checkpoint_that_is_no_runs_is_one_line(state: dict[str, Any], tmp_path: Path) -> None:
    """It was a KeyError."""
    (tmp_path / "ridge.yaml").write_text(RECIPE, encoding="utf-8")
    recipe, _, _ = parse_recipe("noise", [str(tmp_path / "ridge.yaml")])
    checkpoint.save(tmp_path, state)
    with pytest.raises(InputError, match=r"^checkpoint: given .*; allowed: the folder of a run"):
        report_noise(recipe, NoiseFlags(checkpoint=str(tmp_path)), SingleProcess())
    checkpoint.save(tmp_path, {"training": GOOD})
    with pytest.raises(InputError, match=r"^checkpoint: given .*; allowed: weights of the recipe's network"):
        report_noise(recipe, NoiseFlags(checkpoint=str(tmp_path)), SingleProcess())
